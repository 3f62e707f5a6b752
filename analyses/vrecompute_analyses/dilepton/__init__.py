"""Dilepton resonance search: ee and mumu mass spectra, Z-peak fit, bump scan, limits."""
