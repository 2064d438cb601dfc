"""Files, archives and answers of servers as tables of rows. Which rows make a bar: cleaning/."""
