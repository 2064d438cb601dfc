"""Finds, runs, judges and commits stages. It names no stage; what a stage means is decided in the rooms."""
