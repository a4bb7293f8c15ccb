// qpip-nbd-copy: copies between files, block devices and NBD servers.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "apps/common/command_line.h"
#include "apps/common/connection.h"
#include "apps/common/json_output.h"
#include "apps/common/nic_options.h"
#include "apps/common/nic_watch.h"
#include "apps/common/stop.h"
#include "apps/nbd/copy.h"
#include "apps/nbd/export.h"
#include "storage/core/thread_pool.h"

namespace qpip::nbd {
namespace {

namespace po = boost::program_options;
using Clock = std::chrono::steady_clock;

constexpr char kName[] = "qpip-nbd-copy";
constexpr size_t kWorkers = 8;
/// Work that lasts longer says how far it is, on a terminal.
constexpr auto kSilent = std::chrono::seconds(2);

apps::CommandLine MakeCommandLine() {
  apps::CommandLine command_line(
      {.name = kName,
       .summary = "copies between files, block devices and NBD servers, holes as holes",
       .usage = "  qpip-nbd-copy [options] SOURCE DESTINATION\n",
       .notes =
           "SOURCE and DESTINATION are each a file, a block device or an NBD URI:\n"
           "nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH or, over queue pairs,\n"
           "nbd+qp://[ADDRESS][:PORT]/EXPORT. A SOURCE may also be memory:SIZE, null:SIZE, and a\n"
           "DESTINATION null:SIZE. A destination that is a file is made anew, of the source's\n"
           "size; a device or an export must have room. What the source says reads as zeroes,\n"
           "and blocks of zeroes, are made zero without data. With status 0 everything is on\n"
           "stable storage, unless --no-flush says otherwise.\n",
       .examples = "  qpip-nbd-copy disk.img nbd://[::1]/scratch\n"
                   "  qpip-nbd-copy --nic shm:lab 'nbd+qp://[fd00::1]/disk' copy.img\n"
                   "  qpip-nbd-copy 'nbd+unix:///?socket=/tmp/a' 'nbd+unix:///?socket=/tmp/b'\n"});
  apps::AddNicOptions(command_line);
  AddClientOptions(command_line, "connections to each server");
  command_line.Options().add_options()(
      "requests,R", po::value<std::string>()->default_value("64")->value_name("COUNT"),
      "blocks on their way at a time")(
      "request-size", po::value<std::string>()->default_value("256K")->value_name("BYTES"),
      "of a block: a power of two, 64K to 32M")(
      "destination-is-zero", "the destination reads as zeroes: these are not written")(
      "no-flush", "do not wait until the destination is on stable storage");
  command_line.Positional("argument", 2);
  return command_line;
}

/// A regular file, or what is not there, is made anew. Returns whether it was.
bool MakeFile(const std::string& path, uint64_t bytes) {
  struct stat status = {};
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) return false;
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const bool made = fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!made) throw apps::Failure("cannot make the file: " + path + ": " + std::strerror(error));
  return true;
}

bool IsPath(const std::string& what) {
  return !Uri::Is(what) && !what.starts_with("memory:") && !what.starts_with("null:");
}

/// Whether both name one file.
void RefuseTheSame(const std::string& source, const std::string& destination) {
  struct stat a = {};
  struct stat b = {};
  const bool both = IsPath(source) && IsPath(destination) && stat(source.c_str(), &a) == 0 &&
                    stat(destination.c_str(), &b) == 0;
  if (both && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
    throw apps::UsageError("source and destination are one file: " + source);
  }
}

class Progress {
 public:
  explicit Progress(uint64_t bytes) : bytes_(bytes), on_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (said_) std::cerr << std::endl;
  }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }
  void Say(const CopyCounts& counts) {
    if (!on_ || Clock::now() - begun_ < kSilent || bytes_ == 0) return;
    said_ = true;
    const double mb_s = static_cast<double>(counts.done()) / 1e6 / seconds();
    std::ostringstream line;
    line << kName << ": " << counts.done() * 100 / bytes_ << "%, " << std::fixed
         << std::setprecision(0) << mb_s << " MB/s";
    std::cerr << "\r" << line.str() << "   " << std::flush;
  }

 private:
  uint64_t bytes_;
  bool on_;
  bool said_ = false;
  Clock::time_point begun_ = Clock::now();
};

void PrintResult(const CopyCounts& counts, double seconds, bool json) {
  if (json) {
    return apps::PrintJsonLine({{"bytes", counts.done()},
                                {"copied", counts.copied},
                                {"zeroed", counts.zeroed},
                                {"skipped", counts.skipped},
                                {"seconds", seconds}});
  }
  std::cout << counts.done() << " bytes: " << counts.copied << " copied, " << counts.zeroed
            << " zeroed, " << counts.skipped << " skipped, in " << std::fixed
            << std::setprecision(3) << seconds << " s" << std::endl;
}

struct Job {
  std::string source, destination;
  CopyOptions options;
  UpstreamOptions upstream;
  bool json = false;
};

int RunCopy(Job job, Nic* nic, const apps::StopToken& stop) {
  const size_t memory_bytes = CopyMemoryBytes(job.options);
  std::unique_ptr<ProtectionDomain> pd;
  std::unique_ptr<MemoryRegion> region;
  std::vector<std::byte> ordinary;
  std::span<std::byte> memory;
  if (nic != nullptr) {  // blocks go out from where they were read to
    pd = nic->AllocatePd();
    region = pd->Allocate(memory_bytes);
    memory = {static_cast<std::byte*>(region->data()), memory_bytes};
    job.upstream.nic = nic;
    job.upstream.pd = pd.get();
    job.upstream.memory = region.get();
  } else {
    ordinary.resize(memory_bytes);
    memory = ordinary;
  }
  storage::ThreadPool workers(kWorkers);
  const auto source = OpenDevice(job.source, true, workers, job.upstream);
  const bool fresh = IsPath(job.destination) && MakeFile(job.destination, source->geometry().bytes);
  job.options.destination_is_zero |= fresh;
  const auto destination = OpenDevice(job.destination, false, workers, job.upstream);
  storage::ThreadExecutor executor;
  Copy copy(*source, *destination, executor, memory, job.options);
  Progress progress(source->geometry().bytes);
  if (!copy.Run(stop.fd(), [&](const CopyCounts& counts) { progress.Say(counts); })) {
    throw apps::Interrupted("stopped: the destination is not complete");
  }
  PrintResult(copy.counts(), progress.seconds(), job.json);
  return apps::kExitOk;
}

Job GetJob(const apps::CommandLine& command_line) {
  const std::vector<std::string> arguments = command_line.Strings("argument");
  if (arguments.size() != 2) {
    throw apps::UsageError("what to copy: command line: give SOURCE and DESTINATION");
  }
  Job job = {.source = arguments[0], .destination = arguments[1], .options = {}, .upstream = {}};
  RefuseTheSame(job.source, job.destination);
  if (job.destination.starts_with("memory:")) {
    throw apps::UsageError("a copy to memory would be lost at the end: give another destination");
  }
  job.options.in_flight = command_line.Number("requests", 1, 1024);
  job.options.block_bytes = command_line.Number("request-size", 64 << 10, 32 << 20);
  if (!std::has_single_bit(job.options.block_bytes)) {
    throw apps::UsageError("option --request-size: give a power of two");
  }
  job.options.destination_is_zero = command_line.Flag("destination-is-zero");
  job.options.flush = !command_line.Flag("no-flush");
  job.upstream = GetClientOptions(command_line);
  job.json = command_line.json();
  return job;
}

int Main(int argc, char** argv) {
  apps::CommandLine command_line = MakeCommandLine();
  if (!command_line.Parse(argc, argv)) return apps::kExitOk;
  const Job job = GetJob(command_line);
  apps::StopToken stop;
  apps::StopOnSignals(stop);
  if (!NeedsNic(job.source) && !NeedsNic(job.destination)) return RunCopy(job, nullptr, stop);
  const std::string uri = apps::NicUri(command_line, apps::NicRole::kClient);
  return apps::WithNic(kName, uri, apps::NicRole::kClient, stop,
                       [&](Nic& nic) { return RunCopy(job, &nic, stop); });
}

}  // namespace
}  // namespace qpip::nbd

int main(int argc, char** argv) {
  return qpip::apps::RunCommand(qpip::nbd::kName, [&] { return qpip::nbd::Main(argc, argv); });
}
