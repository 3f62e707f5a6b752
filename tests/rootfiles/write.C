// Random trees written and read back by ROOT: every kind of column that the reader knows, with what ROOT itself reads.
// A .truth file is, for each column: a line "name dtype entries bytes", the number of values of each entry (int32), the values.
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/TIOFeatures.hxx>
#include <TFile.h>
#include <TROOT.h>
#include <TTree.h>

#include <array>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

using Random = std::mt19937_64;

template <class T> T number(Random &r, double low, double high) {
   if constexpr (std::is_same_v<T, bool>) return r() & 1;
   else if constexpr (std::is_integral_v<T>) return static_cast<T>(r());
   else return static_cast<T>(low + (high - low) * (r() >> 11) * 0x1p-53);
}

template <class T> const char *dtype() {
   if constexpr (std::is_same_v<T, bool>) return "|b1";
   else if constexpr (std::is_same_v<T, float>) return "<f4";
   else if constexpr (std::is_same_v<T, double>) return "<f8";
   else if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? "|i1" : "|u1";
   else if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? "<i2" : "<u2";
   else if constexpr (sizeof(T) == 4) return std::is_signed_v<T> ? "<i4" : "<u4";
   else return std::is_signed_v<T> ? "<i8" : "<u8";
}

struct Truth {
   std::string dtype;
   std::vector<int> counts;
   std::string bytes;
   template <class T> void take(const T &v) { ++counts.back(); bytes.append(reinterpret_cast<const char *>(&v), sizeof v); }
};

inline void dump(std::ofstream &out, const std::string &name, const Truth &t) {
   out << name << ' ' << t.dtype << ' ' << t.counts.size() << ' ' << t.bytes.size() << '\n';
   out.write(reinterpret_cast<const char *>(t.counts.data()), 4 * t.counts.size());
   out << t.bytes;
}

// ---- TTree ------------------------------------------------------------------------------------------------------
struct Branch {
   std::string name;
   Truth truth;
   explicit Branch(std::string n) : name(std::move(n)) {}
   virtual ~Branch() = default;
   virtual void book(TTree &t, int basket, int split) = 0;
   virtual void fill(Random &r, int n) = 0;
   virtual void attach(TTree &t) = 0;
   virtual void take(int n) = 0;
};

template <class T> struct Leaf : Branch {  // name dims / code: C numbers at an address
   std::string title;
   int items;
   bool counted;
   double low, high;
   T buffer[64] = {};
   Leaf(std::string n, std::string code, std::string dims, int items, bool counted, double low, double high)
      : Branch(n), title(n + dims + "/" + code), items(items), counted(counted), low(low), high(high) { truth.dtype = dtype<T>(); }
   int size(int n) const { return counted ? n * items : items; }
   void book(TTree &t, int basket, int) override { t.Branch(name.c_str(), buffer, title.c_str(), basket); }
   void fill(Random &r, int n) override { for (int k = 0; k < size(n); ++k) buffer[k] = number<T>(r, low, high); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), buffer); }
   void take(int n) override { truth.counts.push_back(0); for (int k = 0; k < size(n); ++k) truth.take(buffer[k]); }
};

template <class T> struct Vector : Branch {
   std::vector<T> *v = new std::vector<T>;
   explicit Vector(std::string n) : Branch(n) { truth.dtype = dtype<T>(); }
   void book(TTree &t, int basket, int split) override { t.Branch(name.c_str(), &v, basket, split); }
   void fill(Random &r, int n) override { v->clear(); for (int k = 0; k < n; ++k) v->push_back(number<T>(r, -1e3, 1e3)); }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &v); }
   void take(int) override { truth.counts.push_back(0); for (T x : *v) truth.take(x); }
};

struct Hit { float x; short q; double a[2]; };
struct Object {
   int n = 0; bool flag; short s; unsigned int u; long long l; float x; double y;
   Double32_t d; Double32_t dr; //[0,100,16]
   Double32_t dt; //[0,0,10]
   Double32_t dp; //[-pi,pi,20]
   Float16_t h; Float16_t hr; //[-50,100,12]
   float a[3]; unsigned char m[2][2]; Double32_t da[3]; //[0,100,16]
   Float16_t ha[2]; //[0,0,8]
   std::vector<float> v; std::vector<int> w; std::vector<Hit> hits;
};

struct Members : Branch {  // one object a branch; the truth is of its members
   Object *o = new Object;
   std::vector<std::pair<std::string, Truth>> parts;
   bool split = false;
   explicit Members(std::string n) : Branch(n + ".") {}
   void book(TTree &t, int basket, int level) override { t.Branch(name.c_str(), &o, basket, level); split = level > 1; }
   void fill(Random &r, int n) override {
      auto in = [&](double a, double b) { return number<double>(r, a, b); };
      o->n = n; o->flag = r() & 1; o->s = r(); o->u = r(); o->l = r(); o->x = in(-9, 9); o->y = in(-9, 9);
      o->d = in(0, 99); o->dr = in(0, 100); o->dt = in(-99, 99); o->dp = in(-3, 3); o->h = in(0, 99); o->hr = in(-50, 100);
      for (auto &x : o->a) x = in(0, 9);
      for (auto &row : o->m) for (auto &x : row) x = r();
      for (auto &x : o->da) x = in(0, 100);
      for (auto &x : o->ha) x = in(-9, 9);
      o->v.assign(n, 0); o->w.assign(n, 0); o->hits.assign(n, Hit{});
      for (int k = 0; k < n; ++k) { o->v[k] = in(0, 9); o->w[k] = r(); o->hits[k] = {float(in(0, 9)), short(r()), {in(0, 9), in(0, 9)}}; }
   }
   void attach(TTree &t) override { t.SetBranchAddress(name.c_str(), &o); }
   template <class T> void part(const std::string &n, const T *p, int count) {
      std::size_t at = 0;
      while (at < parts.size() && parts[at].first != n) ++at;
      if (at == parts.size()) { parts.emplace_back(n, Truth{}); parts[at].second.dtype = dtype<T>(); }
      parts[at].second.counts.push_back(0);
      for (int k = 0; k < count; ++k) parts[at].second.take(p[k]);
   }
   void take(int) override {
      if (!split) return;  // not split, no member is a column
      part("flag", &o->flag, 1); part("s", &o->s, 1); part("u", &o->u, 1); part("l", &o->l, 1); part("x", &o->x, 1); part("y", &o->y, 1);
      part("d", &o->d, 1); part("dr", &o->dr, 1); part("dt", &o->dt, 1); part("dp", &o->dp, 1); part("h", &o->h, 1); part("hr", &o->hr, 1);
      part("a[3]", o->a, 3); part("m[2][2]", &o->m[0][0], 4); part("da[3]", o->da, 3); part("ha[2]", o->ha, 2);
      part("v", o->v.data(), o->v.size()); part("w", o->w.data(), o->w.size());
      std::vector<float> x; std::vector<short> q;
      for (auto &hit : o->hits) { x.push_back(hit.x); q.push_back(hit.q); }
      part("hits.x", x.data(), x.size()); part("hits.q", q.data(), q.size());
   }
};

using Branches = std::vector<std::unique_ptr<Branch>>;

template <class T> void leaves(Branches &all, Random &r, std::string code, std::string tag, double low = -1e3, double high = 1e3) {
   auto add = [&](const char *shape, const char *dims, int items, bool counted) {
      if (r() % 4 == 0) all.push_back(std::make_unique<Leaf<T>>(tag + shape, code, dims, items, counted, low, high));
   };
   add("_one", "", 1, false); add("_three", "[3]", 3, false); add("_square", "[2][2]", 4, false);
   add("_list", "[n]", 1, true); add("_pairs", "[n][2]", 2, true);
}

Branches branches(Random &r) {
   Branches all;
   leaves<Char_t>(all, r, "B", "B"); leaves<UChar_t>(all, r, "b", "b"); leaves<Short_t>(all, r, "S", "S"); leaves<UShort_t>(all, r, "s", "s");
   leaves<Int_t>(all, r, "I", "I"); leaves<UInt_t>(all, r, "i", "i"); leaves<Long64_t>(all, r, "L", "L"); leaves<ULong64_t>(all, r, "l", "l");
   leaves<Long_t>(all, r, "G", "G"); leaves<ULong_t>(all, r, "g", "g"); leaves<Float_t>(all, r, "F", "F"); leaves<Double_t>(all, r, "D", "D");
   leaves<Bool_t>(all, r, "O", "O");
   const std::pair<const char *, std::pair<double, double>> packed[] = {
      {"", {-1e3, 1e3}}, {"[0,100,16]", {0, 100}}, {"[0,0,10]", {-99, 99}}, {"[-5,5]", {-5, 5}}, {"[-pi,pi,20]", {-3, 3}}, {"[0,twopi,9]", {0, 6}}, {"[0,0,4]", {-9, 9}}};
   int kind = 0;
   for (auto &[text, ends] : packed) {
      leaves<Float16_t>(all, r, std::string("f") + text, "h" + std::to_string(kind), ends.first, ends.second);
      leaves<Double32_t>(all, r, std::string("d") + text, "d" + std::to_string(kind++), ends.first, ends.second);
   }
   auto vector = [&](auto sample, const char *name) { if (r() % 3 == 0) all.push_back(std::make_unique<Vector<decltype(sample)>>(name)); };
   vector(float{}, "vF"); vector(double{}, "vD"); vector(int{}, "vI"); vector((unsigned short)0, "vs"); vector((long long)0, "vL"); vector((unsigned char)0, "vb");
   if (r() % 2) all.push_back(std::make_unique<Members>("o"));
   return all;
}

void write_tree(const char *path, unsigned long seed, int most) {
   Random r(seed);
   const int codecs[] = {0, 101, 207, 404, 505}, entries = r() % most;
   Branches all = branches(r);
   {
      TFile f(path, "RECREATE", "", codecs[r() % 5]);
      TTree t("Events", "");
      int n = 0, basket = 300 + r() % 3000, split = r() % 3 ? 99 : 0;
      if (r() % 2) t.SetAutoFlush(1 + r() % 60);
      t.Branch("n", &n, "n/I", basket);
      for (auto &b : all) b->book(t, basket, split);
      for (int i = 0; i < entries; ++i) { n = r() % 5; for (auto &b : all) b->fill(r, n); t.Fill(); }
      t.Write();
   }
   TFile f(path);
   auto *t = f.Get<TTree>("Events");
   int n = 0;
   t->SetBranchAddress("n", &n);
   for (auto &b : all) b->attach(*t);
   for (Long64_t i = 0; i < t->GetEntries(); ++i) { t->GetEntry(i); for (auto &b : all) b->take(n); }
   std::ofstream out(std::string(path) + ".truth", std::ios::binary);
   for (auto &b : all) {
      auto *members = dynamic_cast<Members *>(b.get());
      if (!members) dump(out, b->name, b->truth);
      else for (auto &[name, truth] : members->parts) dump(out, b->name + name, truth);
   }
}

// Lists stored with an experimental feature, which ROOT 6.40 itself does not always read back.
void write_features(const char *path) {
   TFile f(path, "RECREATE");
   TTree t("Events", "");
   ROOT::TIOFeatures features;
   features.Set("kGenerateOffsetMap");
   t.SetIOFeatures(features);
   int n = 0;
   long long list[8];
   float one = 0;
   t.Branch("n", &n, "n/I");
   t.Branch("list", list, "list[n]/L");
   t.Branch("one", &one, "one/F");
   for (int i = 0; i < 90; ++i) { n = i % 5; one = i; for (int k = 0; k < n; ++k) list[k] = 10 * i + k; t.Fill(); }
   t.Write();
}
