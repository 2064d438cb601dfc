"""Commands about past runs and their tables: summary, exclusions, why, diff, replay, checks of ledger and store.

They read evidence; replay and `diff --attribute` also compute stages again. Running a sleeve: graph/.
"""
