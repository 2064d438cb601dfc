"""Splits, dividends and ticker changes: which are known, where they are read, what they do to rows."""
