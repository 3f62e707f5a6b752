// The task as one RDataFrame graph with Vary; compiled with -O3 by rdataframe.py, nothing is left to the interpreter.
#include <ROOT/RDataFrame.hxx>
#include <ROOT/RDFHelpers.hxx>
#include <ROOT/RVec.hxx>
#include <TH1D.h>
#include <TROOT.h>

#include <cmath>
#include <string>
#include <vector>

using ROOT::RVecB;
using ROOT::RVecD;
using ROOT::RVecF;
using ROOT::RVecI;

struct Spec {  // one channel
   std::string trigger, collection, id, isolation;
   double eta_max, crack_low, crack_high, eta_split, pt_min, isolation_max, mass_low, mass_high;
   int id_min;
   std::vector<std::string> own, both;                // tags of the variations
   std::vector<double> own_near, own_far, both_near, both_far;  // their factors within and beyond eta_split
   std::vector<double> edges;
};

struct Found {
   std::vector<double> sums;  // (variation, bin, {w, w^2})
   std::vector<unsigned long long> cutflow;
};

static RVecD Scaled(const RVecD &pt, const RVecF &eta, double split, double near, double far)
{
   RVecD out(pt.size());
   for (std::size_t i = 0; i < pt.size(); ++i)
      out[i] = pt[i] * (std::abs(eta[i]) < split ? near : far);
   return out;
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

// Variations of pt, as a function for Vary.
static auto Shifts(const Spec &s, const std::vector<double> &near, const std::vector<double> &far)
{
   return [&s, near, far](const RVecD &pt, const RVecF &eta) {
      ROOT::RVec<RVecD> varied;
      for (std::size_t v = 0; v < near.size(); ++v)
         varied.emplace_back(Scaled(pt, eta, s.eta_split, near[v], far[v]));
      return varied;
   };
}

static ROOT::RDF::RNode Varied(ROOT::RDF::RNode events, const Spec &s)
{
   const auto c = s.collection;
   return events.Define("pt", [](const RVecF &pt) { return RVecD(pt.begin(), pt.end()); }, {c + "_pt"})
      .Vary("pt", Shifts(s, s.own_near, s.own_far), {"pt", c + "_eta"}, s.own, "own")
      .Vary("pt", Shifts(s, s.both_near, s.both_far), {"pt", c + "_eta"}, s.both, "both");
}

// Leptons that pass everything but pT: nothing here is varied.
template <typename ID>
static RVecB Good(const Spec &s, const RVecF &eta, const ROOT::RVec<ID> &id, const RVecF &isolation)
{
   RVecB good(eta.size());
   for (std::size_t i = 0; i < eta.size(); ++i) {
      const double x = std::abs(eta[i]);
      const bool crack = s.crack_high > s.crack_low && x >= s.crack_low && x <= s.crack_high;
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
      for (auto &tag : s.own)
         keys.push_back("own:" + tag);
      for (auto &tag : s.both)
         keys.push_back("both:" + tag);
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
