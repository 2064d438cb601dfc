"""Compares tables, results and contexts of two runs, and recomputes stages to find the cause of a difference."""
