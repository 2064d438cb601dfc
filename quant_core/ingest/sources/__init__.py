"""One file per source of bars. How a source is declared and found lives in source.py."""
