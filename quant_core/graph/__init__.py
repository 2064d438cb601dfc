"""How stages are found, run and finished. Names no stage; what a stage means lives in the rooms."""
