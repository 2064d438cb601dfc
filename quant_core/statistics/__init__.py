"""Statistics of uncertainty: arrays in, numbers out. Tables and stages are elsewhere."""
