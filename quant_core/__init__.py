"""The domain, the kernels and the evidence. It depends on no orchestrator: that is quant_assets."""

import os

if os.name == "nt":
    raise ImportError("quant-assets runs on Linux and macOS: its ledger needs POSIX file locks. On Windows use WSL.")
