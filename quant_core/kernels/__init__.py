"""Numba kernels: arrays and scalars in, `out` filled, nothing returned. The only home of numba."""
