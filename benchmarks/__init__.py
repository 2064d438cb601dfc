"""Speed against named peers: each module declares contests, `python -m benchmarks` finds and measures them all."""
