"""Splits, dividends and ticker changes: reading them, finding the known ones, applying them to rows."""
