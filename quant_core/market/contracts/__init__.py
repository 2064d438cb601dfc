"""Contracts of tables: one file per room, and `split`, which separates the rows that keep a contract from the others.

The only importer of pandera. Who applies a contract when is the graph's business.
"""
