"""Comparing: tables, results and contexts of two runs, and stages computed again to find what caused a difference."""
