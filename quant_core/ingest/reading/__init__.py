"""Files, archives and answers of servers as tables of rows. cleaning/ decides which rows are bars."""
