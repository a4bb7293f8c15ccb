#include "bench/comparison/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace qpip::bench {
namespace {

constexpr double kGigabyte = 1e9;

double ValueOf(const Case& which, const Sample& sample) {
  const auto messages = static_cast<double>(which.messages);
  return which.pattern == Pattern::kRoundTrip ? sample.seconds / messages * 1e6
                                              : messages * which.bytes / sample.seconds / kGigabyte;
}

double CpuOf(const Case& which, const Sample& sample) {
  const auto messages = static_cast<double>(which.messages);
  return which.pattern == Pattern::kRoundTrip
             ? sample.cpu_seconds / messages * 1e6
             : sample.cpu_seconds / (messages * which.bytes / kGigabyte);
}

std::string Line(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string Line(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string ProcessorName() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string KernelRelease() {
  utsname name = {};
  uname(&name);
  return name.release;
}

bool StartsWith(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

/// The kernel's series to hold `series` against: the same case, and completion of the same kind.
const Series* KernelPeer(const std::vector<Series>& all, const Series& series) {
  for (const Series& other : all) {
    if (other.which == series.which && StartsWith(other.contender->name(), "kernel") &&
        other.contender->completion() == series.contender->completion() && !other.samples.empty()) {
      return &other;
    }
  }
  return nullptr;
}

/// UCX polls: only polling contenders are held against it, and against its better transport.
const Series* UcxPeer(const std::vector<Series>& all, const Series& series) {
  const Series* best = nullptr;
  if (series.contender->completion() != Completion::kPoll) return nullptr;
  const bool smaller_is_better = series.which->pattern == Pattern::kRoundTrip;
  for (const Series& other : all) {
    if (other.which != series.which || !StartsWith(other.contender->name(), "ucx") ||
        other.samples.empty()) {
      continue;
    }
    if (best == nullptr ||
        (Summarise(other).median < Summarise(*best).median) == smaller_is_better) {
      best = &other;
    }
  }
  return best;
}

/// A QPIP series' medians divided by the peer's; 0 where there is nothing to divide by.
double RatioTo(const Series& series, const Series* peer) {
  if (!StartsWith(series.contender->name(), "qpip") || series.samples.empty() || peer == nullptr) {
    return 0;
  }
  return Summarise(series).median / Summarise(*peer).median;
}

std::string RatioText(double ratio) { return ratio > 0 ? Line("%.2f", ratio) : ""; }

std::string CaseTitle(const Case& which) {
  if (which.pattern == Pattern::kRoundTrip) {
    return Line("%u-byte round trip over %s (µs, smaller is better; %llu a round; CPU: µs each)",
                which.bytes, which.transport == Transport::kTcp ? "TCP" : "UDP",
                static_cast<unsigned long long>(which.messages));
  }
  return Line("messages of %u B, one way (10^9 B/s; %llu a round, %u outstanding; CPU: s a GB)",
              which.bytes, static_cast<unsigned long long>(which.messages), which.window);
}

std::string SeriesLine(const std::vector<Series>& all, const Series& series) {
  const std::string name = series.contender->name();
  if (!series.error.empty())
    return Line("  %-14s failed: %.200s\n", name.c_str(), series.error.c_str());
  const Summary summary = Summarise(series);
  return Line("  %-14s %9.3f  %9.3f .. %-9.3f %8.3f  %8s %8s\n", name.c_str(), summary.median,
              summary.least, summary.most, summary.cpu,
              RatioText(RatioTo(series, KernelPeer(all, series))).c_str(),
              RatioText(RatioTo(series, UcxPeer(all, series))).c_str());
}

nlohmann::json SeriesJson(const std::vector<Series>& all, const Series& series) {
  nlohmann::json out = {
      {"contender", series.contender->name()},
      {"description", series.contender->description()},
      {"completion", series.contender->completion() == Completion::kPoll ? "poll" : "wait"}};
  if (!series.error.empty()) {
    out["error"] = series.error;
    return out;
  }
  const Summary summary = Summarise(series);
  out["median"] = summary.median;
  out["min"] = summary.least;
  out["max"] = summary.most;
  out["cpu"] = summary.cpu;
  const double kernel = RatioTo(series, KernelPeer(all, series));
  const double ucx = RatioTo(series, UcxPeer(all, series));
  if (kernel > 0) out["ratio_to_kernel"] = kernel;
  if (ucx > 0) out["ratio_to_ucx"] = ucx;
  for (const Sample& sample : series.samples) {
    out["rounds"].push_back({{"seconds", sample.seconds},
                             {"cpu_seconds", sample.cpu_seconds},
                             {"server_cpu_seconds", sample.server_cpu_seconds},
                             {"value", ValueOf(*series.which, sample)}});
  }
  return out;
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Summary Summarise(const Series& series) {
  std::vector<double> values;
  std::vector<double> cpu;
  for (const Sample& sample : series.samples) {
    values.push_back(ValueOf(*series.which, sample));
    cpu.push_back(CpuOf(*series.which, sample));
  }
  if (values.empty()) return {};
  return {Median(values), *std::min_element(values.begin(), values.end()),
          *std::max_element(values.begin(), values.end()), Median(cpu)};
}

std::string FormatText(const std::vector<Series>& all, const Pinning& pinning, int rounds) {
  std::string text = Line("%s, %u cores, Linux %s\n", ProcessorName().c_str(),
                          std::thread::hardware_concurrency(), KernelRelease().c_str());
  text += Line(
      "Two processes, server pinned to core %d, client to core %d; %d rounds, contenders "
      "alternate; "
      "medians.\n",
      pinning.server_core, pinning.client_core, rounds);
  std::vector<const Contender*> described;
  for (const Series& series : all) {
    if (std::find(described.begin(), described.end(), series.contender) != described.end())
      continue;
    described.push_back(series.contender);
    text += Line("  %-14s %s\n", series.contender->name().c_str(),
                 series.contender->description().c_str());
  }
  const Case* shown = nullptr;
  for (const Series& series : all) {
    if (series.which != shown) {
      shown = series.which;
      text += "\n" + shown->name + ": " + CaseTitle(*shown) + "\n";
      text += Line("  %-14s %9s  %9s .. %-9s %8s  %8s %8s\n", "", "median", "min", "max", "CPU",
                   "/kernel", "/UCX");
    }
    text += SeriesLine(all, series);
  }
  text +=
      "\n/kernel: QPIP's median divided by the kernel's, both polling or both sleeping; /UCX: by "
      "the\n"
      "better UCX transport, which polls. CPU adds both sides.\n";
  return text;
}

nlohmann::json FormatJson(const std::vector<Series>& all, const Pinning& pinning, int rounds) {
  nlohmann::json cases = nlohmann::json::array();
  const Case* shown = nullptr;
  for (const Series& series : all) {
    if (series.which != shown) {
      shown = series.which;
      const bool round_trip = shown->pattern == Pattern::kRoundTrip;
      cases.push_back({{"name", shown->name},
                       {"bytes", shown->bytes},
                       {"messages", shown->messages},
                       {"window", shown->window},
                       {"unit", round_trip ? "us" : "GB/s"},
                       {"cpu_unit", round_trip ? "us a round trip" : "s a GB"},
                       {"contenders", nlohmann::json::array()}});
    }
    cases.back()["contenders"].push_back(SeriesJson(all, series));
  }
  return {{"processor", ProcessorName()},
          {"kernel", KernelRelease()},
          {"server_core", pinning.server_core},
          {"client_core", pinning.client_core},
          {"rounds", rounds},
          {"cases", cases}};
}

}  // namespace qpip::bench
