// A scheme of NIC URIs is a row: how it is written, what it has besides what all have, how its wire
// is opened. Another one is another file with a row in it, and its line in schemes.cc.
#pragma once

#include <any>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "sim/lanai/uri.h"
#include "sim/lanai/uri_values.h"
#include "sim/wire/wire.h"

namespace qpip::lanai {

/// One query parameter: where its value goes and comes from. `get` answers "" for "not given".
struct Parameter {
  std::string_view name;
  void (*set)(NicUri& uri, std::string_view name, std::string_view value);
  std::string (*get)(const NicUri& uri);
  bool repeatable = false;  ///< may be given several times
};

struct Scheme {
  std::string_view name;     ///< "udp"
  std::string_view place;    ///< what follows the colon, for messages: "HOST:PORT"
  uint32_t default_mtu = 0;  ///< bytes; 0: the wire knows
  bool leads_far = false;    ///< behind the wire there may be a path of links and queues
  bool has_address = false;  ///< where the URI gives no address the wire knows it
  std::any (*make)();        ///< NicUri::wire_options of a new URI
  void (*set_place)(NicUri& uri, std::string_view place);
  std::string (*format_place)(const NicUri& uri);
  /// Refuses what does not go together. May be null.
  void (*check)(const NicUri& uri) = nullptr;
  /// NicUri::wire_options with what it has in common with other schemes filled in.
  std::any (*complete)(const NicUri& uri);
  /// Opens the wire that `complete` describes. Throws as the functions of wire.h.
  std::unique_ptr<wire::Wire> (*open)(const std::any& completed);
  std::span<const Parameter> parameters;  ///< that not every scheme has
};

/// All there are, the default first.
std::span<const Scheme* const> Schemes();

/// Parameters that every scheme has, written before the scheme's own and behind them.
std::span<const Parameter> PortParameters();
std::span<const Parameter> NicParameters();

// Rows of a table of parameters. `FIELD` is an expression on `uri`, which is const in `get`.
#define QPIP_URI_NUMBER(NAME, FIELD, LOW, HIGH)                                        \
  ::qpip::lanai::Parameter {                                                           \
    NAME,                                                                              \
        [](NicUri& uri, std::string_view name, std::string_view value) {               \
          using Number = std::remove_cvref_t<decltype(FIELD)>;                         \
          FIELD = static_cast<Number>(ParseNumber(name, value, LOW, HIGH));            \
        },                                                                             \
        [](const NicUri& uri) { return std::to_string(static_cast<uint64_t>(FIELD)); } \
  }

}  // namespace qpip::lanai
