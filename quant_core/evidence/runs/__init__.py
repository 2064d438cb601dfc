"""What the records of the ledger mean: runs, commits, heads, manifests. How stages run: graph/."""
