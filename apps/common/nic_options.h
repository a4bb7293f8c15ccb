// How commands name their NIC and their peers.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/command_line.h"
#include "qpip/qpip.h"

namespace qpip::apps {

/// A server's default address is well known, a client's is its own.
enum class NicRole { kServer, kClient };

inline constexpr char kDefaultServerAddress[] = "fd00::1";

/// How long a command waits for a connection: whoever looks at it wants to know sooner than TCP
/// gives up (RFC 9293 3.8.3 asks for three minutes).
inline constexpr std::chrono::seconds kConnectTimeout{10};

/// Adds --nic and --address.
void AddNicOptions(CommandLine& command_line);

/// The URI that --nic and --address name together. Without an address a server gets fd00::1 and a
/// client a random one. Throws UsageError when the address is given twice.
std::string NicUri(const CommandLine& command_line, NicRole role);
/// The same from its parts; `address` may be empty.
std::string NicUri(const std::string& uri, const std::string& address, NicRole role);

/// Whether the URI's query names the parameter.
bool HasParameter(const std::string& uri, const std::string& name);

/// Adds --statistics.
void AddStatisticsOption(CommandLine& command_line);
/// The NIC's counters and statistics, with --statistics in JSON: as "nic" in `result`; in text: as
/// indented JSON on stdout. Nothing without the option.
void ReportStatistics(const CommandLine& command_line, Nic& nic, nlohmann::json* result);

/// Parses "ADDRESS", "[ADDRESS]" or "[ADDRESS]:PORT". Throws UsageError that shows the form.
Endpoint ParsePeer(const std::string& text, uint16_t default_port);

}  // namespace qpip::apps
