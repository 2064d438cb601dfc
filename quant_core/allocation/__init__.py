"""From atom streams to weights: one file per method, caps, the stage. Solvers live here and nowhere else."""
