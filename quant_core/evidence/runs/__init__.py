"""The meaning of the ledger's records: runs, commits, heads, manifests. Running stages: graph/."""
