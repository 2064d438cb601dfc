"""Who could be held when: the presence of each symbol, its liquidity, and how many members died."""
