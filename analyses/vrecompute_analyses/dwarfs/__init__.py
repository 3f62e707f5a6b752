"""Gamma-ray limits from dwarf spheroidal galaxies, with backgrounds predicted from the sky around them.

Follows Calore et al., JCAP 10 (2018) 029 and Alvarez et al., JCAP 09 (2020) 004.
"""
