"""Factors: features mapped to probabilities across the eligible members of a date, and how well they predict."""
