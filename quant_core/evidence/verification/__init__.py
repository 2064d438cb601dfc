"""Whether a ledger is what was written. Reading and appending: ledger/."""
