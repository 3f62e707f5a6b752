"""Sums over Gaussian kernels: regression, density, likelihood of bandwidths."""
