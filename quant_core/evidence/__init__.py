"""What is kept: table versions, the ledger, the manifest. How stages run lives in graph."""
