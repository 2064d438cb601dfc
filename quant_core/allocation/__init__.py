"""From atom streams to weights: one file per method, caps, the stage. Solvers are used here and nowhere else."""
