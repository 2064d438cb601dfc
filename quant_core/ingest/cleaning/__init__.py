"""Rules that make landed rows trustworthy bars: arrivals, jumps and stalls, suspected splits, whole tables."""
