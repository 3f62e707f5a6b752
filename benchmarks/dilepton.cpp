// The dilepton selection of vrecompute_analyses/dilepton/selection.py, written by hand for one compiler:
// the yardstick of `python -m benchmarks.limits kernel`. Same cuts, variations, histograms and bin search.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int kVariations = 7, kMumuRows = 11, kHistograms = 3, kMaxLeptons = 64;

double quantile(double u) {
  if (u < 0.02425 || u > 1.0 - 0.02425) {
    const double q = std::sqrt(-2.0 * std::log(std::min(u, 1.0 - u)));
    const double tail = (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838) * q -
                           2.549732539343734) * q + 4.374664141464968) * q + 2.938163982698783) /
                        ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996) * q +
                          3.754408661907416) * q + 1.0);
    return u < 0.5 ? tail : -tail;
  }
  const double q = u - 0.5, r = q * q;
  return (((((-3.969683028665376e01 * r + 2.209460984245205e02) * r - 2.759285104469687e02) * r +
            1.383577518672690e02) * r - 3.066479806614716e01) * r + 2.506628277459239) * q /
         (((((-5.447609879822406e01 * r + 1.615858368580409e02) * r - 1.556989798598866e02) * r +
            6.680131188771972e01) * r - 1.328068155288572e01) * r + 1.0);
}

std::uint64_t bits(double x) {
  std::uint64_t b;
  std::memcpy(&b, &x, sizeof b);
  return b;
}

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double noise(double a, double b, std::uint64_t stream) {
  const std::uint64_t z = mix(mix(bits(a) + stream * 0x9E3779B97F4A7C15u) ^ bits(b));
  return quantile((static_cast<double>(z >> 12) + 0.5) * 0x1p-52);
}

struct Axis {
  const double* edges;
  const std::int32_t* guess;
  std::int64_t n, cells, shift, first;
  std::int64_t find(double x) const {
    if (std::isnan(x)) return n;
    const std::int64_t key = (static_cast<std::int64_t>(bits(x)) >> shift) - first;
    std::int64_t index = guess[std::clamp<std::int64_t>(key, 0, cells - 1)];
    while (x >= edges[index]) ++index;  // ends at the NaN after the last edge
    return index;
  }
};

struct Leptons {
  const std::int64_t* offsets;
  const float *pt, *eta, *phi;
  const std::int8_t* charge;
  const std::uint8_t* passes;
};

struct Pair {
  bool found;
  double mass;
  int charge;
};

// All variations of one flavour's leading pair; the angular part of the mass once per pair of leptons.
void pairs(const Leptons& l, std::int64_t event, double eta_max, double crack_low, double crack_high, double pt_min,
           double scale, double resolution, std::uint64_t stream, int variations, Pair* out) {
  const std::int64_t at = l.offsets[event];
  const int n = static_cast<int>(std::min<std::int64_t>(l.offsets[event + 1] - at, kMaxLeptons));
  double pt[kVariations][kMaxLeptons];
  bool good[kMaxLeptons];
  const double shifts[4] = {scale, -scale, 0.002, -0.002};
  for (int i = 0; i < n; ++i) {
    const double x = l.pt[at + i], eta = std::fabs(static_cast<double>(l.eta[at + i]));
    good[i] = l.passes[at + i] && eta < eta_max && !(crack_low < eta && eta < crack_high);
    pt[0][i] = x;
    if (variations == 1) continue;
    for (int v = 0; v < 4; ++v) pt[1 + v][i] = x * (1.0 + shifts[v]);
    const double z = noise(x, l.phi[at + i], stream);
    pt[5][i] = x * (1.0 + resolution * z);
    pt[6][i] = x * (1.0 - resolution * z);
  }
  int last_a = -1, last_b = -1;
  double opening = 0.0;
  for (int v = 0; v < variations; ++v) {
    int a = -1, b = -1;
    for (int i = 0; i < n; ++i) {
      if (!good[i] || !(pt[v][i] > pt_min)) continue;
      if (a < 0 || pt[v][i] > pt[v][a]) {
        b = a;
        a = i;
      } else if (b < 0 || pt[v][i] > pt[v][b]) {
        b = i;
      }
    }
    out[v].found = b >= 0;
    if (b < 0) continue;
    if (a != last_a || b != last_b) {
      last_a = a;
      last_b = b;
      opening = 2.0 * (std::cosh(static_cast<double>(l.eta[at + a]) - static_cast<double>(l.eta[at + b])) -
                       std::cos(static_cast<double>(l.phi[at + a]) - static_cast<double>(l.phi[at + b])));
    }
    out[v].mass = std::sqrt(pt[v][a] * pt[v][b] * opening);
    out[v].charge = l.charge[at + a] * l.charge[at + b];
  }
}

}  // namespace

extern "C" {

// sums: per channel and histogram (mass, z, spectrum) the rows (7 of ee, 11 of mumu), (bins + 2), (w, w^2).
// cuts: ee events, trigger, two_leptons, opposite_sign, mass_window; mumu the same with not_ee after two_leptons.
void dilepton(std::int64_t events, const Leptons* electrons, const Leptons* muons, const double* weight,
              const std::uint8_t* fired_ee, const std::uint8_t* fired_mumu,
              const Axis* axes, double mass_low, double mass_high, int variations, double** sums, std::int64_t* cuts) {
  // Row of the ee variations (nominal, scale, scale, momentum, momentum, resolution, resolution) that a mumu row
  // vetoes with, and the variation of the muons it has.
  static const int ee_of[kMumuRows] = {0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0};
  static const int mumu_of[kMumuRows] = {0, 0, 0, 3, 4, 0, 0, 1, 2, 5, 6};
  const int rows = variations == 1 ? 1 : kMumuRows;
  const auto fill = [&](int histogram, int row, double m, double w) {
    const Axis& axis = axes[histogram % kHistograms];
    double* to = sums[histogram] + 2 * (row * (axis.n + 1) + axis.find(m));
    to[0] += w;
    to[1] += w * w;
  };
  for (std::int64_t event = 0; event < events; ++event) {
    const double w = weight[event];
    Pair ee[kVariations], mumu[kVariations];
    for (auto& pair : ee) pair.found = false;
    ++cuts[0];
    if (fired_ee[event]) {
      ++cuts[1];
      pairs(*electrons, event, 2.47, 1.37, 1.52, 30.0, 0.005, 0.01, 11, variations, ee);
      for (int v = 0; v < variations; ++v) {
        if (!ee[v].found) continue;
        const double m = ee[v].mass;
        fill(1, v, m, w);
        fill(2, v, m, w);
        const bool inside = mass_low <= m && m <= mass_high;
        if (inside) fill(0, v, m, w);
        if (v == 0) cuts[2] += 1, cuts[3] += 1, cuts[4] += inside;
      }
    }
    ++cuts[5];
    if (!fired_mumu[event]) continue;
    ++cuts[6];
    pairs(*muons, event, 2.5, 0.0, 0.0, 30.0, 0.005, 0.02, 13, variations, mumu);
    for (int row = 0; row < rows; ++row) {
      const Pair& pair = mumu[mumu_of[row]];
      if (!pair.found) continue;
      if (row == 0) ++cuts[7];
      if (ee[ee_of[row]].found) continue;
      if (row == 0) ++cuts[8];
      if (pair.charge >= 0) continue;
      const bool inside = mass_low <= pair.mass && pair.mass <= mass_high;
      if (row == 0) cuts[9] += 1, cuts[10] += inside;
      fill(4, row, pair.mass, w);
      fill(5, row, pair.mass, w);
      if (inside) fill(3, row, pair.mass, w);
    }
  }
}
}
