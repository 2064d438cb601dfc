"""The append-only, hash-chained ledger: lines, segments, Merkle tree, anchors. The meaning of records: runs/."""
