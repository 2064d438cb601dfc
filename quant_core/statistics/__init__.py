"""How sure we are: arrays in, numbers out. Tables and stages live elsewhere."""
