"""quant_core: the domain, the kernels and the evidence. Knows no orchestrator."""
