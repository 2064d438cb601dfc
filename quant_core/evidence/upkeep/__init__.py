"""Finds the versions of the store that are needed, damaged or old. The commands: lifecycle/store.py."""
