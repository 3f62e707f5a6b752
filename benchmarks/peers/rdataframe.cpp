// The task as one RDataFrame graph with Vary; compiled with -O3 by rdataframe.py, nothing is left to the interpreter.
#include <ROOT/RDataFrame.hxx>
#include <ROOT/RDFHelpers.hxx>
#include <ROOT/RVec.hxx>
#include <TH1D.h>
#include <TROOT.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using ROOT::RVecB;
using ROOT::RVecD;
using ROOT::RVecF;
using ROOT::RVecI;

struct Spec {  // one channel
   std::string trigger, collection, id, isolation;
   double eta_max, crack_low, crack_high, pt_min, isolation_max, mass_low, mass_high;
   int id_min;
   std::uint64_t stream;
   std::vector<std::string> tags;  // of the variations
   std::vector<double> shifts;
   std::vector<int> smears;  // whether a shift is one of resolution rather than of scale
   std::vector<double> edges;
};

struct Found {
   std::vector<double> sums;  // (variation, bin, {w, w^2})
   std::vector<unsigned long long> cutflow;
};

static std::uint64_t Mix(std::uint64_t z)
{
   z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
   z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
   return z ^ (z >> 31);
}

static std::uint64_t Bits(double x)
{
   std::uint64_t bits;
   std::memcpy(&bits, &x, sizeof bits);
   return bits;
}

template <std::size_t N>
static double Polynomial(const double (&coefficients)[N], double x)
{
   double value = 0;
   for (double c : coefficients)
      value = value * x + c;
   return value;
}

// The same normal number as `smearing` in task.py.
static double Smearing(double pt, double phi, std::uint64_t stream)
{
   static const double numerator[] = {-3.969683028665376e01, 2.209460984245205e02,  -2.759285104469687e02,
                                      1.383577518672690e02,  -3.066479806614716e01, 2.506628277459239e00};
   static const double denominator[] = {-5.447609879822406e01, 1.615858368580409e02,  -1.556989798598866e02,
                                        6.680131188771972e01,  -1.328068155288572e01, 1.0};
   static const double tail_numerator[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e00,
                                           -2.549732539343734e00,  4.374664141464968e00,   2.938163982698783e00};
   static const double tail_denominator[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e00,
                                             3.754408661907416e00, 1.0};
   const std::uint64_t z = Mix(Mix(Bits(pt) + stream * 0x9E3779B97F4A7C15ull) ^ Bits(phi));
   const double u = (double(z >> 12) + 0.5) * 0x1p-52;
   if (u < 0.02425 || u > 1.0 - 0.02425) {
      const double q = std::sqrt(-2.0 * std::log(std::min(u, 1.0 - u)));
      const double tail = Polynomial(tail_numerator, q) / Polynomial(tail_denominator, q);
      return u < 0.5 ? tail : -tail;
   }
   const double q = u - 0.5, r = q * q;
   return Polynomial(numerator, r) * q / Polynomial(denominator, r);
}

// Indices of the leading two good leptons above pt_min; empty where there are fewer.
static RVecI Leading(const RVecD &pt, const RVecB &good, double pt_min)
{
   int a = -1, b = -1;
   for (int i = 0; i < int(pt.size()); ++i) {
      if (!good[i] || !(pt[i] > pt_min))
         continue;
      if (a < 0 || pt[i] > pt[a]) {
         b = a;
         a = i;
      } else if (b < 0 || pt[i] > pt[b]) {
         b = i;
      }
   }
   return b < 0 ? RVecI{} : RVecI{a, b};
}

static ROOT::RDF::RNode Varied(ROOT::RDF::RNode events, const Spec &s)
{
   const auto c = s.collection;
   return events.Define("pt", [](const RVecF &pt) { return RVecD(pt.begin(), pt.end()); }, {c + "_pt"})
      .Vary("pt",
            [&s](const RVecD &pt, const RVecF &phi) {
               RVecD normal(pt.size());
               for (std::size_t i = 0; i < pt.size(); ++i)
                  normal[i] = Smearing(pt[i], phi[i], s.stream);
               ROOT::RVec<RVecD> varied(s.shifts.size(), RVecD(pt.size()));
               for (std::size_t v = 0; v < varied.size(); ++v)
                  for (std::size_t i = 0; i < pt.size(); ++i)
                     varied[v][i] = pt[i] * (1.0 + s.shifts[v] * (s.smears[v] ? normal[i] : 1.0));
               return varied;
            },
            {"pt", c + "_phi"}, s.tags, "shift");
}

// Leptons that pass everything but pT: nothing here is varied.
template <typename ID>
static RVecB Good(const Spec &s, const RVecF &eta, const ROOT::RVec<ID> &id, const RVecF &isolation)
{
   RVecB good(eta.size());
   for (std::size_t i = 0; i < eta.size(); ++i) {
      const double x = std::abs(eta[i]);
      const bool crack = x > s.crack_low && x < s.crack_high;
      good[i] = int(id[i]) >= s.id_min && isolation[i] <= s.isolation_max && x < s.eta_max && !crack;
   }
   return good;
}

// As tutorials write it: one mask of all cuts, count, sort, take.
template <typename ID>
static ROOT::RDF::RNode UsualPair(ROOT::RDF::RNode fired, const Spec &s)
{
   const auto c = s.collection;
   return Varied(fired, s)
      .Define("mask",
              [&s](const RVecD &pt, const RVecF &eta, const ROOT::RVec<ID> &id, const RVecF &isolation) {
                 return RVecI(pt > s.pt_min && Good(s, eta, id, isolation));
              },
              {"pt", c + "_eta", s.id, s.isolation})
      .Filter([](const RVecI &mask) { return ROOT::VecOps::Sum(mask) >= 2; }, {"mask"})
      .Define("pair",
              [](const RVecD &pt, const RVecI &mask) {
                 const auto chosen = ROOT::VecOps::Nonzero(mask);
                 const auto order = ROOT::VecOps::StableArgsort(pt[mask], [](double a, double b) { return a > b; });
                 return RVecI{int(chosen[order[0]]), int(chosen[order[1]])};
              },
              {"pt", "mask"});
}

// The least work: what no variation changes is cut on first, and the pair is found in one pass.
template <typename ID>
static ROOT::RDF::RNode TunedPair(ROOT::RDF::RNode fired, const Spec &s)
{
   const auto c = s.collection;
   auto objects = fired
                     .Define("good",
                             [&s](const RVecF &eta, const ROOT::RVec<ID> &id, const RVecF &isolation) {
                                return Good(s, eta, id, isolation);
                             },
                             {c + "_eta", s.id, s.isolation})
                     .Filter([](const RVecB &good) { return ROOT::VecOps::Sum(good, 0) >= 2; }, {"good"});
   return Varied(objects, s)
      .Define("pair", [&s](const RVecD &pt, const RVecB &good) { return Leading(pt, good, s.pt_min); }, {"pt", "good"})
      .Filter([](const RVecI &pair) { return !pair.empty(); }, {"pair"});
}

template <typename ID>
static void Book(ROOT::RDF::RNode events, const Spec &s, bool tuned,
                 std::vector<ROOT::RDF::RResultPtr<ULong64_t>> &counts, ROOT::RDF::RResultPtr<TH1D> &histogram)
{
   const auto c = s.collection;
   auto fired = events.Filter([](bool t) { return t; }, {s.trigger}).Define("w", [](float w) { return double(w); }, {"genWeight"});
   auto two = tuned ? TunedPair<ID>(fired, s) : UsualPair<ID>(fired, s);
   auto opposite = two.Filter([](const RVecI &pair, const RVecI &q) { return q[pair[0]] * q[pair[1]] < 0; },
                              {"pair", c + "_charge"});
   auto massive = opposite.Define(
      "mass",
      [](const RVecI &pair, const RVecD &pt, const RVecF &eta, const RVecF &phi) {
         const int a = pair[0], b = pair[1];
         const double deta = double(eta[a]) - double(eta[b]), dphi = double(phi[a]) - double(phi[b]);
         return std::sqrt(2.0 * pt[a] * pt[b] * (std::cosh(deta) - std::cos(dphi)));
      },
      {"pair", "pt", c + "_eta", c + "_phi"});
   auto window = massive.Filter([&s](double m) { return m >= s.mass_low && m <= s.mass_high; }, {"mass"});
   for (auto node : {ROOT::RDF::RNode(fired), two, ROOT::RDF::RNode(opposite), ROOT::RDF::RNode(window)})
      counts.push_back(node.Count());
   TH1D model("", "", int(s.edges.size()) - 1, s.edges.data());
   model.Sumw2();
   histogram = massive.template Histo1D<double, double>(ROOT::RDF::TH1DModel(model), "mass", "w");
}

std::vector<Found> RunTask(const std::string &tree, const std::vector<std::string> &files, const Spec &electrons,
                           const Spec &muons, int threads, bool tuned)
{
   if (threads > 1)
      ROOT::EnableImplicitMT(threads);
   TH1::AddDirectory(false);
   ROOT::RDataFrame events(tree, files);
   auto total = events.Count();
   std::vector<std::vector<ROOT::RDF::RResultPtr<ULong64_t>>> counts(2);
   std::vector<ROOT::RDF::RResultPtr<TH1D>> histograms(2);
   Book<int>(events, electrons, tuned, counts[0], histograms[0]);
   Book<bool>(events, muons, tuned, counts[1], histograms[1]);
   std::vector<ROOT::RDF::Experimental::RResultMap<TH1D>> varied;
   for (auto &histogram : histograms)
      varied.push_back(ROOT::RDF::Experimental::VariationsFor(histogram));

   std::vector<Found> found(2);
   for (int channel = 0; channel < 2; ++channel) {
      const Spec &s = channel == 0 ? electrons : muons;
      std::vector<std::string> keys{"nominal"};
      for (auto &tag : s.tags)
         keys.push_back("shift:" + tag);
      for (auto &key : keys) {
         const TH1D &h = varied[channel][key];
         for (int bin = 1; bin < int(s.edges.size()); ++bin) {
            found[channel].sums.push_back(h.GetBinContent(bin));
            found[channel].sums.push_back((*h.GetSumw2())[bin]);
         }
      }
      found[channel].cutflow.push_back(*total);
      for (auto &count : counts[channel])
         found[channel].cutflow.push_back(*count);
   }
   if (threads > 1)
      ROOT::DisableImplicitMT();
   return found;
}
