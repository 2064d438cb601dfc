"""Table versions by the SHA-256 of their bytes. The head version of a table: runs/."""
