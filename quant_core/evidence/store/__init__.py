"""Table versions by the SHA-256 of their bytes. Which version is the head of a table: runs/."""
