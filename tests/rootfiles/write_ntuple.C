// The same for RNTuple: fields of every supported kind, from the start or added after some clusters.
// ---- RNTuple ----------------------------------------------------------------------------------------------------
template <class T> struct IsVector : std::false_type {};
template <class T> struct IsVector<std::vector<T>> : std::true_type {};
template <class T> struct IsArray : std::false_type {};
template <class T, std::size_t N> struct IsArray<std::array<T, N>> : std::true_type {};

template <class T> T value(Random &r) {
   T v{};
   if constexpr (IsVector<T>::value) for (int k = r() % 4; k > 0; --k) v.push_back(value<typename T::value_type>(r));
   else if constexpr (IsArray<T>::value) for (auto &x : v) x = value<typename T::value_type>(r);
   else v = number<T>(r, -100, 100);
   return v;
}

template <class T> void flatten(const T &v, Truth &t) {
   if constexpr (IsVector<T>::value) for (typename T::value_type x : v) flatten(x, t);
   else if constexpr (IsArray<T>::value) for (auto &x : v) flatten(x, t);
   else { t.dtype = dtype<T>(); t.take(v); }
}

template <class T> const char *bottom() {
   if constexpr (IsVector<T>::value || IsArray<T>::value) return bottom<typename T::value_type>();
   else return dtype<T>();
}

struct Field {
   std::string name, type;
   std::function<void(ROOT::REntry &, Random &)> fill;
   std::function<std::vector<std::pair<std::string, Truth>>(ROOT::RNTupleReader &)> read;
};

Hit hit(Random &r) { return {number<float>(r, 0, 9), static_cast<short>(r()), {number<double>(r, 0, 9), number<double>(r, 0, 9)}}; }

template <class T> Field structs(const std::string &name, const char *type) {  // the truth is of the members
   return {name, type,
           [name](ROOT::REntry &e, Random &r) {
              auto p = e.GetPtr<T>(name);
              if constexpr (IsVector<T>::value) { p->clear(); for (int k = r() % 4; k > 0; --k) p->push_back(hit(r)); }
              else *p = hit(r);
           },
           [name](ROOT::RNTupleReader &reader) {
              auto view = reader.GetView<T>(name);
              Truth x, q, a;
              x.dtype = dtype<float>(); q.dtype = dtype<short>(); a.dtype = dtype<double>();
              auto take = [&](const Hit &h) { x.take(h.x); q.take(h.q); a.take(h.a[0]); a.take(h.a[1]); };
              for (auto i : reader.GetEntryRange()) {
                 for (auto *t : {&x, &q, &a}) t->counts.push_back(0);
                 if constexpr (IsVector<T>::value) for (auto &h : view(i)) take(h); else take(view(i));
              }
              return std::vector<std::pair<std::string, Truth>>{{name + ".x", x}, {name + ".q", q}, {name + ".a", a}};
           }};
}

template <class T> Field field(const std::string &name, const char *type) {
   return {name, type, [name](ROOT::REntry &e, Random &r) { *e.GetPtr<T>(name) = value<T>(r); },
           [name](ROOT::RNTupleReader &reader) {
              auto view = reader.GetView<T>(name);
              Truth t;
              t.dtype = bottom<T>();
              for (auto i : reader.GetEntryRange()) { t.counts.push_back(0); flatten(view(i), t); }
              return std::vector<std::pair<std::string, Truth>>{{name, t}};
           }};
}

#define FIELD(T) fields.push_back(field<T>("f" + std::to_string(fields.size()), #T))
#define COMMA ,
std::vector<Field> all_fields() {
   std::vector<Field> fields;
   FIELD(bool); FIELD(std::int8_t); FIELD(std::uint8_t); FIELD(std::int16_t); FIELD(std::uint16_t); FIELD(std::int32_t); FIELD(std::uint32_t);
   FIELD(std::int64_t); FIELD(std::uint64_t); FIELD(float); FIELD(double);
   FIELD(std::vector<float>); FIELD(std::vector<double>); FIELD(std::vector<std::int64_t>); FIELD(std::vector<std::uint8_t>); FIELD(std::vector<bool>); FIELD(std::vector<std::int16_t>);
   FIELD(std::array<float COMMA 3>); FIELD(std::array<double COMMA 2>); FIELD(std::array<bool COMMA 5>); FIELD(std::array<std::int32_t COMMA 4>); FIELD(std::array<std::uint8_t COMMA 2>);
   FIELD(std::array<std::array<std::int16_t COMMA 2> COMMA 2>); FIELD(std::vector<std::array<float COMMA 2>>);
   fields.push_back(structs<Hit>("hit", "Hit"));
   fields.push_back(structs<std::vector<Hit>>("hits", "std::vector<Hit>"));
   for (auto &f : fields) { auto at = f.type.find(" COMMA "); while (at != std::string::npos) { f.type.replace(at, 7, ","); at = f.type.find(" COMMA "); } }
   return fields;
}

void write_ntuple(const char *path, unsigned long seed, int most) {
   using namespace ROOT;
   Random r(seed);
   const int codecs[] = {0, 101, 207, 404, 505}, entries = r() % most, late = r() % 3 ? r() % (entries + 1) : entries + 1;
   const int cluster = 1 + r() % (1 + most / 4);
   std::vector<Field> first, second;
   for (auto &f : all_fields()) if (r() % 3 == 0) (r() % 2 ? first : second).push_back(f);
   if (late > entries) second.clear();
   {
      auto model = RNTupleModel::CreateBare();
      auto narrow = RFieldBase::Create("narrow", "float").Unwrap();
      auto &f = dynamic_cast<RField<float> &>(*narrow);
      if (r() % 2) f.SetHalfPrecision(); else if (r() % 2) f.SetTruncated(10 + r() % 20); else f.SetQuantized(5 + r() % 25, {-100, 100});
      model->AddField(std::move(narrow));
      for (auto &f : first) model->AddField(RFieldBase::Create(f.name, f.type).Unwrap());
      RNTupleWriteOptions options;
      options.SetCompression(codecs[r() % 5]);
      options.SetMaxUnzippedPageSize(256 + r() % 4096);
      options.SetInitialUnzippedPageSize(64 + r() % 128);
      auto writer = RNTupleWriter::Recreate(std::move(model), "Events", path, options);
      auto entry = writer->CreateEntry();
      std::vector<Field> present = first;
      for (int i = 0; i < entries; ++i) {
         if (i == late) {
            auto updater = writer->CreateModelUpdater();
            updater->BeginUpdate();
            for (auto &f : second) updater->AddField(RFieldBase::Create(f.name, f.type).Unwrap());
            updater->CommitUpdate();
            entry = writer->CreateEntry();
            present.insert(present.end(), second.begin(), second.end());
         }
         *entry->GetPtr<float>("narrow") = number<float>(r, -100, 100);
         for (auto &f : present) f.fill(*entry, r);
         writer->Fill(*entry);
         if (i % cluster == cluster - 1) writer->CommitCluster(r() % 3 == 0);
      }
      if (late >= entries) second.clear();
   }
   auto reader = RNTupleReader::Open("Events", path);
   std::ofstream out(std::string(path) + ".truth", std::ios::binary);
   first.insert(first.end(), second.begin(), second.end());
   first.push_back(field<float>("narrow", "float"));
   for (auto &f : first) for (auto &[name, truth] : f.read(*reader)) dump(out, name, truth);
}
