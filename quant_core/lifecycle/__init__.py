"""What became of runs: trials, promotion, replay. Reads evidence and runs the graph."""
