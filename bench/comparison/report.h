// Rounds gathered, and how they are shown.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/comparison/contender.h"

namespace qpip::bench {

/// All rounds of one case by one contender.
struct Series {
  Contender* contender = nullptr;
  const Case* which = nullptr;
  std::vector<Sample> samples;
  std::string error;  ///< not empty: it failed, this is why, and it was not tried again
};

/// Median and spread of a series, in the case's unit.
struct Summary {
  double median = 0;  ///< round trips: microseconds each; throughput: 10^9 bytes a second
  double least = 0;
  double most = 0;
  double cpu = 0;  ///< median; round trips: CPU microseconds each; throughput: CPU seconds a GB
};
Summary Summarise(const Series& series);

/// The median of `values`; 0 when there is none.
double Median(std::vector<double> values);

/// The comparison as a page of text.
std::string FormatText(const std::vector<Series>& all, const Pinning& pinning, int rounds);

/// All rounds of all series, their summaries and the ratios.
nlohmann::json FormatJson(const std::vector<Series>& all, const Pinning& pinning, int rounds);

}  // namespace qpip::bench
