"""The stages from a source's rows to trustworthy bars, lives, universe and returns; their parts are in rooms below."""
