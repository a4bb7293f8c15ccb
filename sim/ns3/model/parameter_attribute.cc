#include "sim/ns3/model/parameter_attribute.h"

#include <ns3/boolean.h>
#include <ns3/data-rate.h>
#include <ns3/double.h>
#include <ns3/fatal-error.h>
#include <ns3/integer.h>
#include <ns3/nstime.h>
#include <ns3/string.h>
#include <ns3/uinteger.h>

#include <cmath>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>

#include "sim/ns3/model/number.h"
#include "sim/ns3/model/qpip_net_device.h"

namespace qpip::sim {
namespace {

constexpr std::string_view kMicroseconds = "us";
constexpr std::string_view kBitsPerSecond = "bit/s";

/// "40ms" in microseconds; nullopt without a unit of time.
std::optional<double> TimeText(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1e-3}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};
  for (const auto& [unit, us] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const double number = ParseNumber(text.substr(0, text.size() - unit.size()), false);
    if (!std::isnan(number)) return number * us;
  }
  return std::nullopt;
}

std::optional<double> TextNumber(const ParameterSpec& spec, std::string_view text) {
  if (spec.unit == kMicroseconds) return TimeText(text);
  if (spec.unit == kBitsPerSecond && text.ends_with("bps")) text.remove_suffix(3);
  if (text == "true") return 1;
  if (text == "false") return 0;
  const double number = ParseNumber(text, spec.unit == std::string_view("B"));
  return std::isnan(number) ? std::nullopt : std::optional(number);
}

template <typename Value>
const Value* As(const ns3::AttributeValue& value) {
  return dynamic_cast<const Value*>(&value);
}
template <typename Value>
Value* As(ns3::AttributeValue& value) {
  return dynamic_cast<Value*>(&value);
}

/// The number that a value of whatever kind stands for; nullopt when it is none for this parameter.
std::optional<double> NumberOf(const ParameterSpec& spec, const ns3::AttributeValue& value) {
  if (const auto* text = As<ns3::StringValue>(value)) return TextNumber(spec, text->Get());
  if (const auto* time = As<ns3::TimeValue>(value)) {
    if (spec.unit != kMicroseconds) return std::nullopt;
    return time->Get().GetSeconds() * 1e6;
  }
  if (spec.unit == kMicroseconds) return std::nullopt;  // of which unit?
  if (const auto* rate = As<ns3::DataRateValue>(value)) {
    if (spec.unit != kBitsPerSecond) return std::nullopt;
    return static_cast<double>(rate->Get().GetBitRate());
  }
  if (const auto* whole = As<ns3::UintegerValue>(value)) return static_cast<double>(whole->Get());
  if (const auto* whole = As<ns3::IntegerValue>(value)) return static_cast<double>(whole->Get());
  if (const auto* number = As<ns3::DoubleValue>(value)) return number->Get();
  if (const auto* flag = As<ns3::BooleanValue>(value)) return flag->Get() ? 1 : 0;
  return std::nullopt;
}

bool IsEmptyText(const ns3::AttributeValue& value) {
  const auto* text = As<ns3::StringValue>(value);
  return text != nullptr && text->Get().empty();
}

/// Why a value is refused; empty: it is not.
std::string Refusal(const ParameterSpec& spec, const ns3::AttributeValue& value) {
  if (IsEmptyText(value)) return "";
  const std::optional<double> number = NumberOf(spec, value);
  if (number && *number >= spec.minimum && *number <= spec.maximum &&
      (!spec.whole || *number == std::floor(*number))) {
    return "";
  }
  std::string wanted = spec.whole ? "a whole number" : "a number";
  if (spec.unit == kMicroseconds) wanted = "a time with its unit (\"40ms\")";
  if (spec.unit == kBitsPerSecond) wanted = "a rate (\"10Gbps\")";
  return "it takes " + wanted + " from " + PlainNumber(spec.minimum) + " to " +
         PlainNumber(spec.maximum) + (spec.unit.empty() ? "" : " " + spec.unit) + ": " +
         spec.meaning;
}

/// What ns-3 makes of texts; a text that is refused was spoken of already.
class ParameterText : public ns3::StringValue {
 public:
  explicit ParameterText(const ParameterSpec& spec) : spec_(spec) {}
  bool DeserializeFromString(std::string text,
                             ns3::Ptr<const ns3::AttributeChecker> checker) override {
    const ns3::StringValue value(text);
    return Refusal(spec_, value).empty() && StringValue::DeserializeFromString(text, checker);
  }

 private:
  const ParameterSpec& spec_;
};

class ParameterChecker : public ns3::AttributeChecker {
 public:
  explicit ParameterChecker(const ParameterSpec& spec) : spec_(spec) {}

  bool Check(const ns3::AttributeValue& value) const override {
    const std::string refusal = Refusal(spec_, value);
    if (refusal.empty()) return true;
    NS_FATAL_ERROR_CONT("attribute " << AttributeName(spec_)
                                     << " of ns3::QpipNetDevice: " << refusal);
    return false;
  }
  std::string GetValueTypeName() const override { return "ns3::StringValue"; }
  bool HasUnderlyingTypeInformation() const override { return true; }
  std::string GetUnderlyingTypeInformation() const override { return spec_.unit; }
  ns3::Ptr<ns3::AttributeValue> Create() const override {
    return ns3::Create<ParameterText>(spec_);
  }
  bool Copy(const ns3::AttributeValue& from, ns3::AttributeValue& to) const override {
    const auto* source = As<ns3::StringValue>(from);
    auto* target = As<ns3::StringValue>(to);
    if (source == nullptr || target == nullptr) return false;
    target->Set(source->Get());
    return true;
  }

 private:
  const ParameterSpec& spec_;
};

class ParameterAccessor : public ns3::AttributeAccessor {
 public:
  explicit ParameterAccessor(const ParameterSpec& spec) : spec_(spec) {}

  bool Set(ns3::ObjectBase* object, const ns3::AttributeValue& value) const override {
    auto* device = dynamic_cast<QpipNetDevice*>(object);
    if (device == nullptr || !Refusal(spec_, value).empty()) return false;
    try {
      device->SetParameter(spec_.name, IsEmptyText(value) ? std::nullopt : NumberOf(spec_, value));
    } catch (const std::logic_error& error) {
      NS_FATAL_ERROR_CONT("attribute " << AttributeName(spec_)
                                       << " of ns3::QpipNetDevice: " << error.what());
      return false;
    }
    return true;
  }
  bool Get(const ns3::ObjectBase* object, ns3::AttributeValue& value) const override {
    const auto* device = dynamic_cast<const QpipNetDevice*>(object);
    if (device == nullptr) return false;
    const std::optional<double> number = device->GetParameter(spec_.name);
    return Write(number, value);
  }
  bool HasGetter() const override { return true; }
  bool HasSetter() const override { return true; }

 private:
  bool Write(std::optional<double> number, ns3::AttributeValue& value) const {
    if (auto* text = As<ns3::StringValue>(value)) {
      text->Set(number ? PlainNumber(*number) + (spec_.unit == kMicroseconds ? "us" : "") : "");
      return true;
    }
    if (!number) return false;  // the profile has none
    if (auto* time = As<ns3::TimeValue>(value)) {
      if (spec_.unit != kMicroseconds) return false;
      time->Set(ns3::Seconds(*number * 1e-6));
    } else if (auto* rate = As<ns3::DataRateValue>(value)) {
      if (spec_.unit != kBitsPerSecond) return false;
      rate->Set(ns3::DataRate(static_cast<uint64_t>(*number)));
    } else if (auto* whole = As<ns3::UintegerValue>(value)) {
      whole->Set(static_cast<uint64_t>(*number));
    } else if (auto* floating = As<ns3::DoubleValue>(value)) {
      floating->Set(*number);
    } else if (auto* flag = As<ns3::BooleanValue>(value)) {
      flag->Set(*number != 0);
    } else {
      return false;
    }
    return true;
  }

  const ParameterSpec& spec_;
};

class ProfileChecker : public ns3::AttributeChecker {
 public:
  bool Check(const ns3::AttributeValue& value) const override {
    const auto* text = As<ns3::StringValue>(value);
    if (text == nullptr) return false;
    static std::set<std::string> good;  // every NIC is made with its default
    if (good.count(text->Get()) != 0) return true;
    try {
      Profile::Load(text->Get()).RequireComplete();
    } catch (const ProfileError& error) {
      NS_FATAL_ERROR_CONT("attribute Profile of ns3::QpipNetDevice: " << error.what());
      return false;
    }
    good.insert(text->Get());
    return true;
  }
  std::string GetValueTypeName() const override { return "ns3::StringValue"; }
  bool HasUnderlyingTypeInformation() const override { return false; }
  std::string GetUnderlyingTypeInformation() const override { return ""; }
  ns3::Ptr<ns3::AttributeValue> Create() const override {
    return ns3::Create<ns3::EmptyAttributeValue>();  // a text was checked already
  }
  bool Copy(const ns3::AttributeValue&, ns3::AttributeValue&) const override { return false; }
};

}  // namespace

std::string AttributeName(const ParameterSpec& spec) {
  std::string_view name = spec.name;
  if (name.starts_with("stage.")) return "";
  if (name == "link.bits_per_s") return "LinkDataRate";
  if (spec.unit == kMicroseconds && name.ends_with("_us")) name.remove_suffix(3);
  std::string out;
  bool upper = true;
  for (const char letter : name) {
    if (letter == '.' || letter == '_') {
      upper = true;
      continue;
    }
    out += upper && letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
    upper = false;
  }
  return out;
}

ns3::TypeId AddParameterAttributes(ns3::TypeId id) {
  for (const ParameterSpec& spec : ParameterSpecs()) {
    const std::string name = AttributeName(spec);
    if (name.empty()) continue;
    id.AddAttribute(name, std::string(spec.meaning) + "; empty: the profile's",
                    ns3::StringValue(""), ns3::Create<ParameterAccessor>(spec),
                    ns3::Create<ParameterChecker>(spec));
  }
  return id;
}

ns3::Ptr<const ns3::AttributeChecker> MakeProfileChecker() { return ns3::Create<ProfileChecker>(); }

}  // namespace qpip::sim
