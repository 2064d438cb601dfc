"""quant_core: the domain, the kernels and the evidence. Knows no orchestrator."""

import os

if os.name == "nt":
    raise ImportError("quant-assets runs on Linux and macOS: its ledger needs POSIX file locks. On Windows use WSL.")
