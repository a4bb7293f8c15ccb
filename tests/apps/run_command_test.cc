// The command that a server runs beside itself (--run).
#include "apps/nbd/run_command.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <csignal>
#include <cstdlib>
#include <string>

namespace qpip::nbd::testing {
namespace {

constexpr char kUri[] = "nbd://[::1]:10809";

/// Runs it to its end. Returns its exit status.
int StatusOf(const std::string& command) {
  apps::StopToken stop;
  RunningCommand running(command, kUri, "", stop);
  pollfd over = {stop.fd(), POLLIN, 0};
  poll(&over, 1, -1);
  return running.Finish();
}

TEST(RunCommandTest, GivenSignalsThatTheServerIgnoresThenTheCommandDoesNot) {
  const auto pipe = std::signal(SIGPIPE, SIG_IGN);
  const auto file_size = std::signal(SIGXFSZ, SIG_IGN);
  // Bit 12 is SIGPIPE, bit 24 SIGXFSZ.
  EXPECT_EQ(
      StatusOf("while read name mask; do [ $name = SigIgn: ] && break; done < /proc/$$/status; "
               "exit $(((0x$mask >> 12 | 0x$mask >> 24) & 1))"),
      0);
  std::signal(SIGPIPE, pipe);
  std::signal(SIGXFSZ, file_size);
}

TEST(RunCommandTest, GivenAVariableOfAServersWhenTheCommandHasOneOfThatNameThenThereIsOne) {
  setenv("uri", "the server's own", 1);
  setenv("uris", "another", 1);
  EXPECT_EQ(StatusOf("exit $(tr '\\0' '\\n' < /proc/$$/environ | grep -c '^uri=')"), 1);
  EXPECT_EQ(StatusOf("test \"$uri\" = '" + std::string(kUri) + "' -a \"$uris\" = another"), 0);
  unsetenv("uri");
  unsetenv("uris");
}

}  // namespace
}  // namespace qpip::nbd::testing
