"""Two stages: one that lands a ramp of prices, one that judges it."""
