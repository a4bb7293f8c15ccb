// docs/conformance.md, from the requirements and from what the cases did.
#include <map>

#include "suite.h"

namespace qpip::conformance {
namespace {

struct Outcome {
  const Case* test;
  bool met;
};

/// Name of a requirement to the cases that show it.
using Outcomes = std::map<std::string, std::vector<Outcome>>;

struct Totals {
  int met = 0;
  int failing = 0;
  int explained = 0;
};

Outcomes RunAll(const std::vector<Topic>& topics) {
  Outcomes outcomes;
  for (const Topic& topic : topics) {
    for (const Case& test : topic.cases) {
      const bool met = !RunCase(test).has_value();
      for (const char* shown : test.shows) outcomes[shown].push_back({&test, met});
    }
  }
  return outcomes;
}

std::string Row(const Requirement& requirement, const std::vector<Outcome>& shown, Totals* totals) {
  std::string cases;
  std::string reasons;
  bool met = true;
  for (const Outcome& outcome : shown) {
    if (!cases.empty()) cases += ", ";
    cases += outcome.test->name;
    if (outcome.met) continue;
    met = false;
    const std::string reason =
        outcome.test->fails != nullptr ? outcome.test->fails : "unexpected: see the test";
    if (reasons.find(reason) != std::string::npos) continue;  // that of several cases
    reasons += (reasons.empty() ? "" : "; ") + reason;
  }
  std::string result = shown.empty() ? "no case" : met ? "met" : "**fails**";
  ++(shown.empty() ? totals->explained : met ? totals->met : totals->failing);
  if (!reasons.empty()) result += ": " + reasons;
  if (*requirement.note != '\0') result += std::string(": ") + requirement.note;
  return std::string("| ") + requirement.id + " | " + requirement.section + " | " +
         requirement.text + " | " + cases + " | " + result + " |\n";
}

std::string Section(const Document& document, const Outcomes& outcomes, std::string* summary) {
  Totals totals;
  std::string text =
      std::string("\n## ") + document.name + ": " + document.title +
      "\n\n| Requirement | Section | Text | Cases | Result |\n|---|---|---|---|---|\n";
  for (const Requirement& requirement : document.requirements) {
    const auto found = outcomes.find(std::string(document.name) + " " + requirement.id);
    static const std::vector<Outcome> kNobody;
    text += Row(requirement, found == outcomes.end() ? kNobody : found->second, &totals);
  }
  *summary += std::string("| ") + document.name + " | " + document.title + " | " +
              std::to_string(totals.met) + " | " + std::to_string(totals.failing) + " | " +
              std::to_string(totals.explained) + " |\n";
  return text;
}

constexpr char kHead[] = R"(# Conformance

Requirements of the RFCs, and what QPIP's TCP, UDP and IPv6 do about them. The firmware and the host library run on the
[test bench](testbench.md), each case of `tests/conformance/` scripts the packets, and this page is made of what
happened:

    build/release/bin/qpip_conformance_tests --report > docs/conformance.md

A test fails when the page is out of date. *Met*: all cases passed. **Fails**: at least one did not, with the reason.
*No case*: nothing that packets could show, with the reason. The texts are paraphrases; the RFCs count. MUST-NN,
SHLD-NN, MAY-NN and REC-NN are the names of RFC 9293, appendix B; other requirements are named by section.

| Document | | Met | Fails | No case |
|---|---|---|---|---|
)";

}  // namespace

std::string Report() {
  const std::vector<Topic> topics = Topics();
  const Outcomes outcomes = RunAll(topics);
  std::string summary = kHead;
  std::string sections;
  for (const Document& document : Documents()) sections += Section(document, outcomes, &summary);
  return summary + sections;
}

}  // namespace qpip::conformance
