// Profiles: what a simulated NIC and its host cost. See docs/simulation.md for the file format.
//
// A profile is a TOML file. Every number carries its source:
//
//   [dma]
//   bytes_per_s = {value = 126e6, kind = "fitted", source = "..."}
//
// A profile may be a delta on another (`base = "name"`), and deltas compose: "a+b" is the profile
// `a` with what the file of `b` itself says on top; if `b` has a base, `a` must be made of that.
// A delta may scale what is below it:
//
//   bytes_per_s = {scale = 4.04, kind = "derived", source = "..."}
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace qpip::sim {

/// A bad profile, named by file and line ("x.toml:12: ..."); the message says what is accepted.
class ProfileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where a value comes from.
enum class ValueKind : uint8_t {
  kPublished,  ///< stands in the paper or in a data sheet
  kDerived,    ///< follows from published values by the arithmetic in its source
  kFitted,     ///< chosen so that published results come out
  kAssumed,    ///< reasoned
  kChosen,     ///< what a what-if asks, or a user's --set
};
const char* KindName(ValueKind kind);

/// One value of a profile.
struct ProfileValue {
  double value = 0;  ///< the number; a factor when `scales`
  ValueKind kind = ValueKind::kAssumed;
  std::string source;   ///< why this value
  std::string profile;  ///< name of the file that set it
  bool scales = false;  ///< in a delta that nothing is below yet
};

/// A complete set of values. A plain value; thread-safe to read.
class Profile {
 public:
  /// Loads "name", "path/to/file.toml" or several of either joined by '+'. Names are searched in
  /// the built-in profiles. Throws ProfileError.
  static Profile Load(std::string_view expression);
  /// Parses one text as if it were a file called `file_name`.
  static Profile Parse(std::string_view text, const std::string& file_name);

  /// Sets a parameter from "name=value". Throws ProfileError for unknown names, bad numbers and
  /// values out of range.
  void Set(std::string_view assignment);
  void Set(const std::string& name, double value, const std::string& source);

  /// The value of a parameter that ParameterSpecs() lists; throws std::logic_error for others, and
  /// ProfileError when the profile gives it none.
  double Get(const std::string& name) const;
  /// As Get, or `otherwise` when the profile gives it none.
  double GetOr(const std::string& name, double otherwise) const;
  bool Has(const std::string& name) const { return values_.count(name) != 0; }

  /// Throws ProfileError naming every required parameter that has no value.
  void RequireComplete() const;

  const std::string& name() const { return name_; }
  const std::string& summary() const { return summary_; }
  const std::map<std::string, ProfileValue>& values() const { return values_; }

 private:
  static Profile LoadAt(std::string_view expression, int depth);
  static Profile LoadOne(std::string_view name, int depth);
  static Profile ParseAt(std::string_view text, const std::string& file_name, int depth);
  void Apply(const Profile& delta);
  void Put(const std::string& name, const ProfileValue& value);

  std::string name_;
  std::string summary_;
  std::map<std::string, ProfileValue> values_;
  std::map<std::string, ProfileValue> own_;  ///< without what the base gave
  std::set<std::string> base_;               ///< files that the base is made of
  std::set<std::string> made_of_;            ///< and this
};

/// Name, text and summary of each profile that is built in.
struct BuiltInProfile {
  std::string name;
  std::string_view text;
};
const std::vector<BuiltInProfile>& BuiltInProfiles();

}  // namespace qpip::sim
