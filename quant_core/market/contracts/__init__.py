"""What every table promises: one file per room, and `split`, which parts the rows that keep it from those that do not.

The only importer of pandera. Who applies a contract when is the graph's business.
"""
