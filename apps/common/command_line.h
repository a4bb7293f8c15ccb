// What every command does the same way: arguments, --help, --version, exit status, error lines.
//
// Exit status: 0 fine, 1 failed, 2 bad usage. An error is one line on stderr,
// "qpip-ping: what: where: what to do".
#pragma once

#include <boost/program_options.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace qpip::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// The command was called wrongly: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command could not do its work: exit status 1. The message is "what: where: what to do".
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What --help says besides the options.
struct CommandInfo {
  std::string name;      ///< "qpip-ping"
  std::string summary;   ///< one sentence
  std::string usage;     ///< lines of synopsis, without the command's name
  std::string notes;     ///< paragraphs after the options; may be empty
  std::string examples;  ///< lines
};

/// The version, the man page (roff) and the names for completion come from the same description as
/// --help: by `--man` and `--complete`, which --help does not show.
///
/// The arguments of one command. `--help` (-h), `--version` and `--json` are always there.
class CommandLine {
 public:
  explicit CommandLine(CommandInfo info);

  /// Adds options: `Options().add_options()(...)`.
  boost::program_options::options_description& Options() { return visible_; }
  /// Names the arguments without a dash; `max` -1: any number. Read them with Strings(name).
  void Positional(const std::string& name, int max);

  /// Returns false when --help, --version, --man or --complete has been answered: exit with status
  /// 0. Throws UsageError.
  bool Parse(int argc, const char* const* argv);

  bool Has(const std::string& option) const { return values_.count(option) != 0; }
  /// Has, and not by its default.
  bool Given(const std::string& option) const {
    return Has(option) && !values_[option].defaulted();
  }
  bool Flag(const std::string& option) const;
  /// Value of an option that was given or has a default. Throws UsageError when there is neither.
  std::string String(const std::string& option) const;
  /// All values of a repeated option or of the positional arguments.
  std::vector<std::string> Strings(const std::string& option) const;
  /// A number, in [min, max], with an optional suffix K, M or G (powers of 1024).
  /// Throws UsageError that names the option and the range.
  uint64_t Number(const std::string& option, uint64_t min, uint64_t max) const;
  /// A decimal number of seconds in [0, max], or in [min, max]. Throws UsageError.
  double Seconds(const std::string& option, double max, double min = 0) const;
  bool json() const { return Flag("json"); }

 private:
  void PrintHelp() const;
  void PrintMan() const;
  void PrintCompletions() const;

  CommandInfo info_;
  boost::program_options::options_description visible_;
  boost::program_options::options_description hidden_;
  boost::program_options::positional_options_description positional_;
  boost::program_options::variables_map values_;
};

/// Parses "8192", "64K", "1M", "2G". Throws UsageError naming `what` and the range [min, max].
uint64_t ParseNumber(std::string_view text, const std::string& what, uint64_t min, uint64_t max);

/// What Seconds() gave.
std::chrono::nanoseconds ToNanoseconds(double seconds);

/// Parses a TCP or UDP port, 1 to 65535. Throws UsageError naming `what`.
uint16_t ParsePort(std::string_view text, const std::string& what);

/// One line on stderr, "qpip-ping: message", whole also beside other threads' lines.
void PrintErrorLine(const std::string& name, std::string_view message);

/// Runs a command's body. What would come as a signal, a closed pipe or a limit on the size of
/// files, is an error code in it. Exceptions become one line on stderr and an exit status; so does
/// output that could not be written to stdout.
int RunCommand(const std::string& name, const std::function<int()>& body);

/// `message` as one line: control characters become spaces.
std::string OneLine(std::string_view message);

}  // namespace qpip::apps
