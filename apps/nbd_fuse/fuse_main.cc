// qpip-nbd-fuse: an NBD server's export as a file.
#include <sys/types.h>

#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/nbd/upstream.h"
#include "apps/nbd_fuse/mount.h"

namespace qpip::nbd {
namespace {

namespace po = boost::program_options;

constexpr char kName[] = "qpip-nbd-fuse";

apps::CommandLine MakeCommandLine() {
  apps::CommandLine command_line(
      {.name = kName,
       .summary = "mounts an NBD server's export as a file, by FUSE",
       .usage = "  qpip-nbd-fuse [options] URI MOUNTPOINT\n",
       .notes =
           "MOUNTPOINT is a file, which becomes the export, or a folder, in which the file\n"
           "'disk' is. URI: nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH or, over\n"
           "queue pairs, nbd+qp://[ADDRESS][:PORT]/EXPORT. A program's fsync is a flush of the\n"
           "server's, a hole that it punches is zeroes there. SIGINT, SIGTERM and\n"
           "`fusermount3 -u MOUNTPOINT` end it, behind a flush.\n",
       .examples = "  qpip-nbd-fuse --nic shm:lab 'nbd+qp://[fd00::1]/disk' /mnt/disk &\n"
                   "  qpip-nbd-fuse 'nbd+unix:///disk?socket=/tmp/s' disk.img &\n"});
  apps::AddNicOptions(command_line);
  AddClientOptions(command_line, "connections of each thread");
  command_line.Options().add_options()(
      "threads", po::value<std::string>()->default_value("1")->value_name("COUNT"),
      "threads that serve the kernel; one where it does not")("read-only,r", "refuse all writes")(
      "direct", "past the kernel's page cache")(
      "allow-other", "let other users use the file too, as far as its mode does")(
      "mode", po::value<std::string>()->value_name("OCTAL"),
      "of the file, which is its user's who runs this (default: 0600, with --allow-other 0644)");
  command_line.Positional("argument", 2);
  return command_line;
}

mode_t ParseMode(const std::string& text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || (mode & ~0666u) != 0) {
    throw apps::UsageError("bad mode: '" + text +
                           "': option --mode: give who may read and write, 0 to 0666");
  }
  return mode;
}

void PrintReady(const MountOptions& options, const ExportFacts& facts, bool json) {
  if (json) {
    return apps::PrintJsonLine({{"mounted", options.path},
                                {"size_bytes", facts.bytes},
                                {"read_only", options.read_only || facts.read_only}});
  }
  std::cout << "mounted: " << options.path << ": " << facts.bytes << " bytes" << std::endl;
}

void PrintResult(const MountCounts& counts, bool json) {
  if (json) {
    return apps::PrintJsonLine({{"reads", counts.reads},
                                {"writes", counts.writes},
                                {"flushes", counts.flushes},
                                {"bytes_read", counts.bytes_read},
                                {"bytes_written", counts.bytes_written},
                                {"errors", counts.errors}});
  }
  std::cout << "unmounted: " << counts.reads << " reads of " << counts.bytes_read << " bytes, "
            << counts.writes << " writes of " << counts.bytes_written << " bytes, "
            << counts.flushes << " flushes, " << counts.errors << " errors" << std::endl;
}

int Main(int argc, char** argv) {
  apps::CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return apps::kExitOk;
  const std::vector<std::string> arguments = command_line.Strings("argument");
  if (arguments.size() != 2) {
    throw apps::UsageError("what to mount: command line: give URI and MOUNTPOINT");
  }
  const std::string& uri = arguments[0];
  (void)Uri::Parse(uri);
  MountOptions options;
  options.path = arguments[1];
  options.threads = static_cast<unsigned>(command_line.Number("threads", 1, 64));
  options.read_only = command_line.Flag("read-only");
  options.direct = command_line.Flag("direct");
  options.allow_other = command_line.Flag("allow-other");
  if (command_line.Has("mode")) options.mode = ParseMode(command_line.String("mode"));
  UpstreamOptions upstream = GetClientOptions(command_line);
  apps::StopToken stop;
  apps::StopOnSignals(stop);
  const auto run = [&](Nic* nic) {
    const std::unique_ptr<ProtectionDomain> pd = nic != nullptr ? nic->AllocatePd() : nullptr;
    upstream.nic = nic;
    upstream.pd = pd.get();
    upstream.ledger = std::make_shared<ChangeLedger>();
    Mount mount(options, [&](const std::optional<ExportFacts>& expected) {
      return OpenClient(uri, upstream, expected);
    });
    PrintReady(options, mount.facts(), command_line.json());
    mount.Run(stop);
    PrintResult(mount.counts(), command_line.json());
    return apps::kExitOk;
  };
  if (!NeedsNic(uri)) return run(nullptr);
  const std::string nic_uri = apps::NicUri(command_line, apps::NicRole::kClient);
  return apps::WithNic(kName, nic_uri, apps::NicRole::kClient, stop,
                       [&](Nic& nic) { return run(&nic); });
}

}  // namespace
}  // namespace qpip::nbd

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::nbd::kName, [&] { return qpip::nbd::Main(argc, argv); });
}
