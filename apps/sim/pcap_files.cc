#include "apps/sim/pcap_files.h"

#include <ns3/boolean.h>
#include <ns3/config.h>
#include <ns3/simulator.h>
#include <ns3/trace-helper.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "apps/common/command_line.h"
#include "apps/sim/output_files.h"

namespace qpip::apps {
namespace {

constexpr rlim_t kOtherFiles = 32;  ///< that a run may have open besides

void WritePacket(ns3::Ptr<ns3::PcapFileWrapper> file, ns3::Ptr<const ns3::Packet> packet) {
  file->Write(ns3::Simulator::Now(), packet);
}

/// ns-3 ends the program where it cannot open a file.
void RequireFiles(size_t count) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count + kOtherFiles) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, count + kOtherFiles);
  if (limit.rlim_cur < count + kOtherFiles || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    throw Failure("cannot open " + std::to_string(count) +
                  " files at a time: --pcap: simulate fewer NICs, or raise the limit (ulimit -n)");
  }
}

}  // namespace

PcapFiles::PcapFiles(std::string prefix)
    : prefix_(std::move(prefix)), before_(sim::SetWorldWatcher(this)) {
  ns3::Config::SetDefault("ns3::PcapFileWrapper::NanosecMode", ns3::BooleanValue(true));
}

PcapFiles::~PcapFiles() { sim::SetWorldWatcher(before_); }

void PcapFiles::OnBuilt(sim::World& world) {
  if (before_ != nullptr) before_->OnBuilt(world);
  ++worlds_;
  const std::string prefix = prefix_ + (worlds_ > 1 ? std::to_string(worlds_) : "") + "-";
  RequireFiles(world.hosts().size());
  for (size_t host = 0; host < world.hosts().size(); ++host) {
    const std::string name = prefix + std::to_string(host) + ".pcap";
    RequireWritable(name);
    auto file = ns3::PcapHelper().CreateFile(name, std::ios::out, ns3::PcapHelper::DLT_RAW);
    world.host(host).device->TraceConnectWithoutContext("Sniffer",
                                                        ns3::MakeBoundCallback(&WritePacket, file));
    open_.emplace_back(name, file);
  }
}

void PcapFiles::OnEnd(sim::World& world) {
  for (const auto& [name, file] : open_) {
    file->Close();
    if (file->Fail() && failed_.empty()) failed_ = name;
  }
  open_.clear();
  if (before_ != nullptr) before_->OnEnd(world);
}

void PcapFiles::RequireWritten() const {
  if (failed_.empty()) return;
  throw Failure("cannot write " + failed_ +
                ": the file is incomplete: name a place that can be written and has room");
}

}  // namespace qpip::apps
