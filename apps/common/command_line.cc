#include "apps/common/command_line.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <memory>
#include <sstream>
#include <utility>

#include "apps/common/stop.h"
#include "apps/common/version.h"
#include "qpip/types.h"

namespace qpip::apps {

namespace po = boost::program_options;

namespace {

std::string Range(uint64_t min, uint64_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

/// Shift of a suffix, or -1 when it is none.
int SuffixShift(std::string_view suffix) {
  if (suffix.empty()) return 0;
  if (suffix == "K" || suffix == "k") return 10;
  if (suffix == "M" || suffix == "m") return 20;
  if (suffix == "G" || suffix == "g") return 30;
  return -1;
}

/// Text as roff prints it: no backslash, dash or leading dot means anything.
std::string Roff(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool at_start = i == 0 || text[i - 1] == '\n';
    if (at_start && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

uint64_t ParseNumber(std::string_view text, const std::string& what, uint64_t min, uint64_t max) {
  uint64_t value = 0;
  const char* const end = std::to_address(text.end());
  const auto [stop, error] = std::from_chars(std::to_address(text.begin()), end, value);
  const int shift = SuffixShift({stop, static_cast<size_t>(end - stop)});
  if (error != std::errc() || shift < 0) {
    throw UsageError(what + ": '" + std::string(text) + "' is not a number: give " +
                     Range(min, max) + ", with an optional suffix K, M or G");
  }
  if (value > std::numeric_limits<uint64_t>::max() >> shift || (value << shift) < min ||
      (value << shift) > max) {
    throw UsageError(what + ": " + std::string(text) + " is out of range: give " + Range(min, max));
  }
  return value << shift;
}

std::chrono::nanoseconds ToNanoseconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

uint16_t ParsePort(std::string_view text, const std::string& what) {
  uint16_t port = 0;
  const char* const end = std::to_address(text.end());
  const auto [stop, error] = std::from_chars(std::to_address(text.begin()), end, port);
  if (error != std::errc() || stop != end || port == 0) {
    throw UsageError(what + ": '" + std::string(text) + "' is not a port: give " +
                     Range(1, UINT16_MAX));
  }
  return port;
}

CommandLine::CommandLine(CommandInfo info)
    : info_(std::move(info)), visible_("Options", 80, 40), hidden_("Arguments") {
  visible_.add_options()("help,h", "print this and exit")("version", "print the version and exit")(
      "json", "print results as JSON on stdout, one object a line, and nothing else there");
  hidden_.add_options()("man", "print the man page")("complete", "print the options' names");
}

void CommandLine::Positional(const std::string& name, int max) {
  positional_.add(name.c_str(), max);
  hidden_.add_options()(name.c_str(), po::value<std::vector<std::string>>());
}

bool CommandLine::Parse(int argc, const char* const* argv) {
  po::options_description all;
  all.add(visible_).add(hidden_);
  namespace style = po::command_line_style;
  try {
    po::store(po::command_line_parser(argc, argv)
                  .options(all)
                  .positional(positional_)
                  .style(style::default_style & ~style::allow_guessing)
                  .run(),
              values_);
    po::notify(values_);
  } catch (const po::error& error) {
    throw UsageError(std::string(error.what()) + ": command line: see " + info_.name + " --help");
  }
  if (Has("help")) {
    PrintHelp();
    return false;
  }
  if (Has("man")) {
    PrintMan();
    return false;
  }
  if (Has("complete")) {
    PrintCompletions();
    return false;
  }
  if (Has("version")) {
    std::cout << info_.name << " (QPIP) " << Version() << "\n";
    return false;
  }
  return true;
}

void CommandLine::PrintHelp() const {
  std::cout << info_.name << ": " << info_.summary << "\n\nUsage:\n" << info_.usage << "\n";
  std::cout << visible_ << "\n";
  if (!info_.notes.empty()) std::cout << info_.notes << "\n";
  std::cout << "Examples:\n" << info_.examples;
  std::cout << "\nExit status: 0 fine, 1 failed, 2 bad usage.\n";
}

void CommandLine::PrintMan() const {
  std::string page = info_.name;  // "qpip-sim run" is qpip-sim-run(1)
  std::replace(page.begin(), page.end(), ' ', '-');
  std::cout << ".TH \"" << Roff(page) << "\" 1 \"\" \"QPIP " << Version() << "\" \"QPIP\"\n"
            << ".SH NAME\n"
            << Roff(page) << " \\- " << Roff(info_.summary) << "\n.SH SYNOPSIS\n.nf\n"
            << Roff(info_.usage) << ".fi\n.SH OPTIONS\n";
  for (const auto& option : visible_.options()) {
    std::string names = option->format_name();
    if (const std::string value = option->format_parameter(); !value.empty()) names += " " + value;
    std::cout << ".TP\n.B " << Roff(names) << "\n" << Roff(option->description()) << "\n";
  }
  if (!info_.notes.empty()) std::cout << ".SH NOTES\n.nf\n" << Roff(info_.notes) << ".fi\n";
  std::cout << ".SH EXAMPLES\n.nf\n"
            << Roff(info_.examples) << ".fi\n.SH EXIT STATUS\n0 fine, 1 failed, 2 bad usage.\n";
}

void CommandLine::PrintCompletions() const {
  for (const auto& option : visible_.options()) std::cout << "--" << option->long_name() << "\n";
}

bool CommandLine::Flag(const std::string& option) const { return Has(option); }

std::string CommandLine::String(const std::string& option) const {
  if (!Has(option)) {
    throw UsageError("option --" + option + " is missing: command line: see " + info_.name +
                     " --help");
  }
  return values_[option].as<std::string>();
}

std::vector<std::string> CommandLine::Strings(const std::string& option) const {
  if (!Has(option)) return {};
  return values_[option].as<std::vector<std::string>>();
}

uint64_t CommandLine::Number(const std::string& option, uint64_t min, uint64_t max) const {
  return ParseNumber(String(option), "option --" + option, min, max);
}

double CommandLine::Seconds(const std::string& option, double max, double min) const {
  const std::string text = String(option);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value) || value < min || value > max) {
    std::ostringstream range;
    range << min << " to " << static_cast<uint64_t>(max);
    throw UsageError("option --" + option + ": '" + text + "' is not a time: give " + range.str() +
                     " seconds");
  }
  return value;
}

std::string OneLine(std::string_view message) {
  std::string line(message);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

void PrintErrorLine(const std::string& name, std::string_view message) {
  const std::string line = name + ": " + OneLine(message) + "\n";
  std::fputs(line.c_str(), stderr);
}

int RunCommand(const std::string& name, const std::function<int()>& body) {
  const auto report = [&name](const char* what, int status) {
    PrintErrorLine(name, what);
    return status;
  };
  IgnoreErrorSignals();
  try {
    const int status = body();
    std::cout.flush();
    if (!std::cout) {
      return report("result not written: standard output: is it closed, or its disk full?",
                    kExitFailed);
    }
    return status;
  } catch (const UsageError& error) {
    return report(error.what(), kExitUsage);
  } catch (const ParseError& error) {  // a URI, an address or an endpoint
    return report(error.what(), kExitUsage);
  } catch (const std::bad_alloc&) {
    return report("out of memory: this process: lower depth, buffer length or count", kExitFailed);
  } catch (const std::exception& error) {
    return report(error.what(), kExitFailed);
  }
}

}  // namespace qpip::apps
