"""Factors: maps features to probabilities across the eligible members of a date, and measures how well they predict."""
