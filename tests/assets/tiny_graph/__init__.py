"""A graph of three stages, small enough to see what the platform does with any stage."""
