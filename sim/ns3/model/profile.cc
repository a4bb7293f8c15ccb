#include "sim/ns3/model/profile.h"

#include <cmath>
#include <fstream>
#include <sstream>

#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "sim/ns3/model/number.h"
#include "sim/ns3/model/parameter.h"

namespace qpip::sim {
namespace {

constexpr int kMaxDepth = 16;
constexpr const char* kKinds[] = {"published", "derived", "fitted", "assumed", "chosen"};

[[noreturn]] void Refuse(const std::string& file, const toml::source_region& where,
                         const std::string& what) {
  throw ProfileError(file + ":" + std::to_string(where.begin.line) + ": " + what);
}

std::string Number(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

void CheckRange(const ParameterSpec& spec, double value, const auto& fail) {
  if (std::isfinite(value) && value >= spec.minimum && value <= spec.maximum &&
      (!spec.whole || value == std::floor(value))) {
    return;
  }
  fail("\"" + spec.name + "\" is " + Number(value) +
       "; accepted: " + (spec.whole ? "a whole number from " : "") + Number(spec.minimum) + " to " +
       Number(spec.maximum) + (spec.unit.empty() ? "" : " " + spec.unit));
}

/// The known name that has most letters in common at the front and back, for "did you mean".
std::string NearestParameter(const std::string& name) {
  std::string best;
  size_t best_score = 0;
  for (const ParameterSpec& spec : ParameterSpecs()) {
    size_t score = 0;
    while (score < name.size() && score < spec.name.size() && name[score] == spec.name[score]) {
      ++score;
    }
    for (size_t i = 1; i <= name.size() && i <= spec.name.size() &&
                       name[name.size() - i] == spec.name[spec.name.size() - i];
         ++i) {
      ++score;
    }
    if (score > best_score) {
      best_score = score;
      best = spec.name;
    }
  }
  return best;
}

std::string UnknownParameter(const std::string& name) {
  return "there is no parameter \"" + name + "\" (did you mean \"" + NearestParameter(name) +
         "\"? `qpip-sim list parameters` names them all)";
}

ValueKind ParseKind(const std::string& file, const toml::node& node, const std::string& text) {
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    if (text == kKinds[i]) return static_cast<ValueKind>(i);
  }
  Refuse(file, node.source(),
         "kind \"" + text + "\" is none of published, derived, fitted, assumed, chosen");
}

ProfileValue ParseValue(const std::string& file, const std::string& name,
                        const toml::table& entry) {
  const ParameterSpec* spec = FindParameter(name);
  if (spec == nullptr) Refuse(file, entry.source(), UnknownParameter(name));
  ProfileValue out;
  for (const auto& [key, node] : entry) {
    if (key == "value" || key == "scale") {
      const auto number = node.value<double>();
      if (!number) {
        Refuse(file, node.source(),
               "the " + std::string(key.str()) + " of \"" + name + "\" is no number");
      }
      out.value = *number;
      out.scales = key == "scale";
    } else if (key == "kind") {
      out.kind = ParseKind(file, node, node.value_or<std::string>(""));
    } else if (key == "source") {
      out.source = node.value_or<std::string>("");
    } else {
      Refuse(file, node.source(),
             "\"" + std::string(key.str()) + "\" in \"" + name +
                 "\"; accepted: value or scale, kind, source");
    }
  }
  if (!entry.contains("kind") || out.source.empty()) {
    Refuse(file, entry.source(),
           "\"" + name +
               "\" needs a kind and a source: {value = ..., kind = \"...\", source = "
               "\"...\"}");
  }
  if (entry.contains("value") && entry.contains("scale")) {
    Refuse(file, entry.source(), "\"" + name + "\" has both a value and a scale; give one");
  }
  if (out.scales && !(out.value > 0)) {
    Refuse(file, entry.source(), "the scale of \"" + name + "\" must be greater than 0");
  }
  if (!out.scales) {
    CheckRange(*spec, out.value,
               [&](const std::string& what) { Refuse(file, entry.source(), what); });
  }
  return out;
}

/// Tables nest: [stage.tx-get-wr] data = {...} is "stage.tx-get-wr.data".
void CollectValues(const std::string& file, const std::string& prefix, const toml::table& table,
                   std::map<std::string, ProfileValue>* out) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const toml::table* inner = node.as_table();
    if (inner == nullptr) {
      if (FindParameter(name) == nullptr) Refuse(file, node.source(), UnknownParameter(name));
      Refuse(file, node.source(),
             "\"" + name +
                 "\" must say where its number comes from: {value = ..., kind = "
                 "\"published|derived|fitted|assumed|chosen\", source = \"...\"}");
    }
    if (inner->contains("value") || inner->contains("scale")) {
      (*out)[name] = ParseValue(file, name, *inner);
    } else {
      CollectValues(file, name + ".", *inner, out);
    }
  }
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw ProfileError("cannot read the profile " + path +
                       "; give a readable file, or one of the names that `qpip-sim list profiles` "
                       "shows");
  }
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

const char* KindName(ValueKind kind) { return kKinds[static_cast<uint8_t>(kind)]; }

Profile Profile::Load(std::string_view expression) { return LoadAt(expression, 0); }

Profile Profile::LoadAt(std::string_view expression, int depth) {
  Profile out;
  bool first = true;
  size_t at = 0;
  while (at <= expression.size()) {
    const size_t plus = std::min(expression.find('+', at), expression.size());
    Profile part = LoadOne(expression.substr(at, plus - at), depth);
    if (first) {
      out = std::move(part);
    } else {
      out.Apply(part);
    }
    first = false;
    at = plus + 1;
  }
  return out;
}

Profile Profile::Parse(std::string_view text, const std::string& file_name) {
  return ParseAt(text, file_name, 0);
}

Profile Profile::LoadOne(std::string_view name, int depth) {
  if (depth > kMaxDepth) throw ProfileError("profiles are each other's base: " + std::string(name));
  const bool is_path = name.find('/') != std::string_view::npos || name.ends_with(".toml");
  if (is_path) return ParseAt(ReadFile(std::string(name)), std::string(name), depth);
  for (const BuiltInProfile& built_in : BuiltInProfiles()) {
    if (built_in.name == name) return ParseAt(built_in.text, built_in.name + ".toml", depth);
  }
  throw ProfileError("there is no profile \"" + std::string(name) +
                     "\"; `qpip-sim list profiles` shows them, and a path to a file is accepted");
}

Profile Profile::ParseAt(std::string_view text, const std::string& file_name, int depth) {
  toml::table root;
  try {
    root = toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    Refuse(file_name, error.source(), std::string(error.description()));
  }
  Profile out;
  if (const auto* base = root.get("base")) {
    const auto name = base->value<std::string>();
    if (!name) Refuse(file_name, base->source(), "base must be the name of a profile, in quotes");
    try {
      out = LoadAt(*name, depth + 1);
    } catch (const ProfileError& error) {
      if (depth + 1 > kMaxDepth) throw;
      Refuse(file_name, base->source(), error.what());
    }
  }
  out.base_ = out.made_of_;
  const size_t slash = file_name.rfind('/');
  out.name_ = file_name.substr(slash == std::string::npos ? 0 : slash + 1);
  if (out.name_.ends_with(".toml")) out.name_.resize(out.name_.size() - 5);
  out.made_of_.insert(out.name_);
  out.summary_ = root["summary"].value_or<std::string>("");
  root.erase("base");
  root.erase("summary");
  out.own_.clear();
  CollectValues(file_name, "", root, &out.own_);
  for (auto& [name, value] : out.own_) {
    value.profile = out.name_;
    out.Put(name, value);
  }
  return out;
}

/// On top of what is there. What scales a value that is not there yet waits for it in own_.
void Profile::Put(const std::string& name, const ProfileValue& value) {
  if (!value.scales) {
    values_[name] = value;
    return;
  }
  const auto below = values_.find(name);
  if (below == values_.end()) return;
  ProfileValue scaled = value;
  scaled.scales = false;
  scaled.value = below->second.value * value.value;
  scaled.source = Number(value.value) + " times " + Number(below->second.value) + " of " +
                  below->second.profile + ": " + value.source;
  CheckRange(*FindParameter(name), scaled.value, [&](const std::string& what) {
    throw ProfileError(value.profile + ": scaled, " + what);
  });
  below->second = scaled;
}

void Profile::Apply(const Profile& delta) {
  for (const std::string& name : delta.base_) {
    if (made_of_.count(name) != 0) continue;
    throw ProfileError("profile " + delta.name_ + " changes " + name + ", and " + name_ +
                       " is not made of that: name " + delta.name_ +
                       " first, or take the base out of its file");
  }
  made_of_.insert(delta.made_of_.begin(), delta.made_of_.end());
  name_ += "+" + delta.name_;
  for (const auto& [name, value] : delta.own_) Put(name, value);
}

void Profile::Set(std::string_view assignment) {
  const size_t equals = assignment.find('=');
  const std::string name(assignment.substr(0, equals));
  const ParameterSpec* spec = FindParameter(name);
  double value = NAN;
  if (equals != std::string_view::npos) {
    value = ParseNumber(assignment.substr(equals + 1), spec != nullptr && spec->unit == "B");
  }
  if (std::isnan(value) && !assignment.ends_with("=nan")) {  // which no range accepts
    throw ProfileError("\"" + std::string(assignment) + "\" is not of the form name=number");
  }
  Set(name, value, "given as " + std::string(assignment));
}

void Profile::Set(const std::string& name, double value, const std::string& source) {
  const ParameterSpec* spec = FindParameter(name);
  if (spec == nullptr) throw ProfileError(UnknownParameter(name));
  CheckRange(*spec, value, [](const std::string& what) { throw ProfileError(what); });
  values_[name] = {value, ValueKind::kChosen, source, "set"};
}

double Profile::Get(const std::string& name) const {
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second.value;
  if (FindParameter(name) == nullptr) throw std::logic_error("no parameter " + name);
  throw ProfileError("profile " + name_ + " gives \"" + name + "\" no value");
}

double Profile::GetOr(const std::string& name, double otherwise) const {
  const auto found = values_.find(name);
  return found != values_.end() ? found->second.value : otherwise;
}

void Profile::RequireComplete() const {
  std::string missing;
  for (const ParameterSpec& spec : ParameterSpecs()) {
    if (spec.required && !Has(spec.name)) missing += (missing.empty() ? "" : ", ") + spec.name;
  }
  if (!missing.empty()) {
    throw ProfileError("profile " + name_ + " is a delta: it gives no value to " + missing +
                       "; name a complete one before it (\"lanai9-hardware-checksum+" + name_ +
                       "\") or as its base");
  }
}

}  // namespace qpip::sim
