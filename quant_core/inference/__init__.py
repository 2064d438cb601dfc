"""Conviction: how strongly a scorer believes in a symbol, from the probabilities of its factors."""
