"""Which landed rows are trustworthy bars: arrivals, jumps and stalls, suspected splits, and rules on whole tables."""
