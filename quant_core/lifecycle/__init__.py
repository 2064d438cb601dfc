"""Commands over past runs and what they left: summary, exclusions, why, diff, replay, checks of ledger and store.

They read evidence; replay and `diff --attribute` also compute stages again. How a run is made lives in graph/.
"""
