// The grammar of NIC URIs: SCHEME:PLACE?NAME=VALUE&... Which schemes and parameters there are is in
// tables: schemes.cc, parameters.cc.
#include "sim/lanai/uri.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "sim/lanai/scheme.h"

namespace qpip::lanai {
namespace {

// "shm:FABRIC?address=IPV6, ... or tap:IFNAME?address=IPV6"
std::string Forms() {
  std::string text;
  const std::span<const Scheme* const> schemes = Schemes();
  for (size_t i = 0; i < schemes.size(); ++i) {
    if (i != 0) text += i + 1 < schemes.size() ? ", " : " or ";
    text += std::string(schemes[i]->name) + ":" + std::string(schemes[i]->place) + "?address=IPV6";
  }
  return text;
}

// A scheme's parameters, in the order in which they are written.
template <typename Visit>
void ForEachParameter(const Scheme& scheme, Visit visit) {
  for (const auto& table : {PortParameters(), scheme.parameters, NicParameters()}) {
    for (const Parameter& parameter : table) visit(parameter);
  }
}

const Parameter* FindParameter(const Scheme& scheme, std::string_view name) {
  const Parameter* found = nullptr;
  ForEachParameter(scheme, [&](const Parameter& parameter) {
    if (parameter.name == name) found = &parameter;
  });
  return found;
}

std::string AcceptedParameters(const Scheme& scheme) {
  std::string names;
  ForEachParameter(scheme, [&](const Parameter& parameter) {
    if (!names.empty()) names += ", ";
    names += parameter.name;
  });
  return names;
}

[[noreturn]] void RefuseParameter(const Scheme& scheme, std::string_view name) {
  const bool known = std::any_of(Schemes().begin(), Schemes().end(), [&](const Scheme* other) {
    return FindParameter(*other, name) != nullptr;
  });
  Refuse((known ? std::string(scheme.name) + ": has no parameter " : "unknown parameter ") +
         Quote(name) + "; accepted are " + AcceptedParameters(scheme));
}

void SetParameter(NicUri& uri, std::string_view field, std::vector<std::string_view>& seen) {
  const size_t equals = field.find('=');
  const std::string_view name = field.substr(0, equals);
  const Parameter* parameter = FindParameter(*uri.scheme, name);
  if (parameter == nullptr) RefuseParameter(*uri.scheme, name);
  if (equals == std::string_view::npos) {
    Refuse("parameter " + std::string(name) + " has no value; write " + std::string(name) +
           "=VALUE");
  }
  if (!parameter->repeatable && std::find(seen.begin(), seen.end(), name) != seen.end()) {
    Refuse("parameter " + std::string(name) + " is given twice");
  }
  seen.push_back(name);
  parameter->set(uri, parameter->name, DecodePercent(field.substr(equals + 1)));
}

const Scheme& ParseScheme(std::string_view name) {
  for (const Scheme* scheme : Schemes()) {
    if (scheme->name == name) return *scheme;
  }
  Refuse("unknown scheme " + Quote(name) + "; accepted: " + Forms());
}

void CheckTogether(const NicUri& uri) {
  if (uri.address == abi::Ip6Address{} && !uri.scheme->has_address) {
    Refuse("no address; add ?address=IPV6, as address=fd00::1");
  }
  const wire::FaultOptions& fault = uri.fault;
  if ((fault.flap_period_ms == 0) != (fault.flap_down_ms == 0)) {
    Refuse("flap_period_ms and flap_down_ms are given together or not at all");
  }
  if (fault.flap_down_ms > fault.flap_period_ms) {
    Refuse("flap_down_ms is more than flap_period_ms: the link would never be up");
  }
  if (uri.scheme->check != nullptr) uri.scheme->check(uri);
}

NicUri Parse(std::string_view text) {
  const size_t question = text.find('?');
  const std::string_view path = text.substr(0, question);
  const size_t colon = path.find(':');
  if (colon == std::string_view::npos) Refuse("no scheme; accepted: " + Forms());
  NicUri uri(ParseScheme(path.substr(0, colon)));
  uri.scheme->set_place(uri, DecodePercent(path.substr(colon + 1)));
  std::string_view rest =
      question == std::string_view::npos ? std::string_view() : text.substr(question + 1);
  std::vector<std::string_view> seen;
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    SetParameter(uri, rest.substr(0, end), seen);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  CheckTogether(uri);
  return uri;
}

}  // namespace

NicUri::NicUri() : NicUri(*Schemes().front()) {}

NicUri::NicUri(const Scheme& row) : scheme(&row), wire_options(row.make()), mtu(row.default_mtu) {
  // The real-time profile: host memory is plentiful where SRAM was not.
  nic.max_qps = 1024;
  nic.max_rdma_qps = 256;
  nic.send_depth_log2 = 10;
  nic.max_listeners = 64;
  nic.max_backlog = 256;
  nic.dma_slots = 1024;
  // As many as frames can be held (Ports::kFrameSlots): rather than drop a segment for want of one,
  // the firmware leaves it in the wire.
  nic.receive_contexts = 256;
  nic.reassembly_slots = 32;
  nic.tcp.reassembly = 256;
  nic.tcp_scoreboard = 256;
  nic.path_mtu_entries = 1024;
  nic.link.max_neighbours = 1024;
  nic.tcp.pacing = row.leads_far;
  nic.link.loops_back = row.leads_far ? 0 : 1;  // a fabric's port may talk to itself
}

NicUri ParseUri(std::string_view text) {
  try {
    return Parse(text);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("NIC URI " + Quote(text) + ": " + error.what());
  }
}

std::string FormatUri(const NicUri& uri) {
  std::string text =
      std::string(uri.scheme->name) + ":" + EncodePercent(uri.scheme->format_place(uri));
  char separator = '?';
  ForEachParameter(*uri.scheme, [&](const Parameter& parameter) {
    const std::string value = parameter.get(uri);
    if (value.empty()) return;
    text += separator;
    text += parameter.name;
    text += '=';
    text += EncodePercent(value);
    separator = '&';
  });
  return text;
}

}  // namespace qpip::lanai
