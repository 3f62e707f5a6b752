"""Histograms and their variations as statistical models, for the libraries that fit them."""
