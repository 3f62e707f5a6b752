"""One pass over the leptons of one flavour."""

import math

import numpy as np
from numba import njit

from vrecompute.kernels.binning import find_bin

CUTS = ("events", "trigger", "not_ee", "two_leptons", "opposite_sign", "mass_window")


@njit(cache=True, nogil=True, error_model="numpy")
def select(offsets, pt, eta, phi, charge, passes, fired, weight, good, taken, cuts, mass_axis, z_axis, full_axis,
           mass_sum, z_sum, full_sum, counts):
    pt_min, eta_max, lo, hi, m_lo, m_hi, os, lepton_mass = cuts
    for e in range(fired.size):
        if not good[e]:
            continue
        counts[0] += 1
        if not fired[e]:
            continue
        counts[1] += 1
        if taken[e]:
            continue
        counts[2] += 1
        a = -1
        b = -1
        for i in range(offsets[e], offsets[e + 1]):
            x = abs(np.float64(eta[i]))
            if not passes[i] or pt[i] <= pt_min or x >= eta_max or (lo <= x <= hi and hi > lo):
                continue
            if a < 0 or pt[i] > pt[a]:
                a, b = i, a
            elif b < 0 or pt[i] > pt[b]:
                b = i
        if b < 0:
            continue
        taken[e] = True
        counts[3] += 1
        if os and charge[a] * charge[b] >= 0:
            continue
        counts[4] += 1
        pa, pb = np.float64(pt[a]), np.float64(pt[b])
        ea, eb = np.float64(eta[a]), np.float64(eta[b])
        dphi = np.float64(phi[a]) - np.float64(phi[b])
        m2 = 2.0 * pa * pb * (math.cosh(ea - eb) - math.cos(dphi))
        if lepton_mass > 0:
            ca, cb = math.hypot(pa * math.cosh(ea), lepton_mass), math.hypot(pb * math.cosh(eb), lepton_mass)
            m2 = 2 * lepton_mass**2 + 2 * (ca * cb - pa * pb * (math.cos(dphi) + math.sinh(ea) * math.sinh(eb)))
        m = math.sqrt(max(m2, 0.0))
        w = weight[e]
        k = find_bin(m, z_axis.edges, z_axis.guess, z_axis.shift, z_axis.first)
        z_sum[0, k] += w
        z_sum[1, k] += w * w
        k = find_bin(m, full_axis.edges, full_axis.guess, full_axis.shift, full_axis.first)
        full_sum[0, k] += w
        full_sum[1, k] += w * w
        if m < m_lo or m > m_hi:
            continue
        counts[5] += 1
        k = find_bin(m, mass_axis.edges, mass_axis.guess, mass_axis.shift, mass_axis.first)
        mass_sum[0, k] += w
        mass_sum[1, k] += w * w
