"""One stage at the end."""
