#include "apps/sim/paper_claims.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "sim/ns3/paper/published.h"

namespace qpip::apps {
namespace {

using nlohmann::json;
using sim::paper::Relation;
using sim::paper::Scored;

std::string Text(const char* format, double value) {
  char text[40];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

/// "40% more", "22% less".
std::string Printed(double ratio) {
  return Text("%.3g%%", 100 * std::abs(ratio - 1)) + (ratio < 1 ? " less" : " more");
}

class Claims {
 public:
  explicit Claims(const json& relations) : relations_(relations) {}

  void Add(const Relation& relation) {
    std::vector<const json*> rows;
    for (const json& row : relations_) {
      if (row["key"] == relation.key && row["simulated"].is_number()) rows.push_back(&row);
    }
    if (rows.empty()) return;
    std::sort(rows.begin(), rows.end(), [](const json* a, const json* b) {
      return (*a)["simulated"].get<double>() < (*b)["simulated"].get<double>();
    });
    switch (relation.scored) {
      case Scored::kNumber:
        AddNumber(relation, "", relation.low, *rows.front());
        break;
      case Scored::kEnds:
        AddNumber(relation, ", the least", relation.low, *rows.front());
        AddNumber(relation, ", the most", relation.high, *rows.back());
        break;
      case Scored::kLargest:
        AddNumber(relation, ", the most", relation.high, *rows.back());
        break;
      case Scored::kRange:
      case Scored::kBound:
        AddBound(relation, *rows.front(), *rows.back());
        break;
    }
  }
  json Take() { return std::move(claims_); }

 private:
  void Add(const Relation& relation, const std::string& which, const json& row, const json& more) {
    json claim = {
        {"key", relation.key},     {"title", relation.title + which}, {"text", relation.text},
        {"place", relation.place}, {"subject", row["subject"]},       {"error", nullptr},
        {"counted", true}};
    claim.update(more);
    claims_.push_back(std::move(claim));
  }

  void AddNumber(const Relation& relation, const std::string& which, double ratio,
                 const json& row) {
    const auto simulated = row["simulated"].get<double>();
    const double error =
        (simulated - ratio) / (ratio - 1);  // of what is printed: the difference to 1
    Add(relation, which, row,
        {{"paper", Printed(ratio)},
         {"simulated", Printed(simulated)},
         {"error", error},
         {"holds", std::abs(error) <= kClaimTolerance}});
  }

  /// The value that comes nearest to breaking it decides.
  void AddBound(const Relation& relation, const json& least, const json& most) {
    const auto low = least["simulated"].get<double>();
    const auto high = most["simulated"].get<double>();
    const bool above_only = std::isinf(relation.high);
    const bool high_decides =
        !above_only && (relation.low == 0 || relation.high / high < low / relation.low);
    const double margin = high_decides ? relation.high / high : low / relation.low;
    const bool range = relation.scored == Scored::kRange;
    std::string paper =
        above_only ? Text("at least %.3g", relation.low) : Text("at most %.3g", relation.high);
    if (range) paper = Text("%.3g", relation.low) + Text(" to %.3g", relation.high);
    std::string simulated = Text("%.3g", high_decides ? high : low);
    if (range) simulated = Text("%.3g", low) + Text(" to %.3g", high);
    Add(relation, "", high_decides ? most : least,
        {{"paper", paper},
         {"simulated", simulated},
         {"holds", low >= relation.low && high <= relation.high},
         {"counted", margin <= kFarFromBound}});
  }

  const json& relations_;
  json claims_ = json::array();
};

}  // namespace

json PaperClaims(const json& relations) {
  Claims claims(relations);
  for (const Relation& relation : sim::paper::Relations()) claims.Add(relation);
  return claims.Take();
}

}  // namespace qpip::apps
