"""The append-only, hash-chained ledger: lines, segments, Merkle tree, anchors. What records mean: runs/."""
