"""The records of a home: table versions, the ledger, manifests of runs. Running stages: graph/."""
