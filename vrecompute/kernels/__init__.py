"""Numba kernels: numpy and numba only, no Dask, no files."""
