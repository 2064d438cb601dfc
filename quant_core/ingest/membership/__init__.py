"""Membership over time: the presence of each symbol, its liquidity, and how many members died."""
