"""Synthesis: clusters, the selection ladder, atoms and their return streams. Nothing here weighs or trades."""
