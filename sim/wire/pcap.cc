// Records what a wire sends and receives to a file that Wireshark opens.
#include <pcap/pcap.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "protocols/common/byte_order.h"
#include "protocols/common/checksum.h"
#include "protocols/ipv6/extension.h"
#include "protocols/ipv6/header.h"
#include "protocols/tcp/header.h"
#include "protocols/udp/header.h"
#include "sim/wire/file_size_signal.h"
#include "sim/wire/fork.h"
#include "sim/wire/json.h"
#include "sim/wire/layout.h"
#include "sim/wire/reporter.h"
#include "sim/wire/wire.h"

namespace qpip::wire {
namespace {

constexpr int kLinkTypeIpv6 = 229;  // LINKTYPE_IPV6: packets start with the IPv6 header

/// A peer on the same memory may have computed none. Recorded is what it would have sent elsewhere.
void FillChecksum(std::span<uint8_t> packet) {
  ipv6::Header ip;
  ipv6::UpperLayer upper;
  const auto length = static_cast<uint32_t>(packet.size());
  if (ipv6::Parse(packet, length, &ip) != ipv6::ParseError::kNone ||
      ipv6::FindUpperLayer(packet, ip, &upper) != ipv6::ParseError::kNone) {
    return;
  }
  const bool tcp = upper.protocol == ipv6::kTcp;
  const size_t field = upper.offset + (tcp ? tcp::offset::kChecksum : udp::offset::kChecksum);
  if ((!tcp && upper.protocol != ipv6::kUdp) || field + 2 > packet.size() ||
      upper.offset + upper.length > packet.size()) {
    return;
  }
  StoreBe16(&packet[field], 0);
  const uint16_t sum =
      ChecksumCombine(PseudoHeaderSum(ip.source, ip.destination, upper.length, upper.protocol),
                      ChecksumAdd(packet.subspan(upper.offset, upper.length)));
  StoreBe16(&packet[field], tcp ? static_cast<uint16_t>(~sum) : udp::FinishChecksum(sum));
}

struct PcapClose {
  void operator()(pcap_t* pcap) const { pcap_close(pcap); }
  void operator()(pcap_dumper_t* dumper) const { pcap_dump_close(dumper); }
};

class PcapWire final : public Wire {
 public:
  PcapWire(std::unique_ptr<Wire> inner, const std::string& path);
  ~PcapWire() override { FlushFile(); }

  void ReportTo(Report report) override {
    reporter_.To(report);
    inner_->ReportTo(std::move(report));
  }
  SendResult Send(const OutFrame& frame, uint64_t* lease) override;
  bool LeasePending(uint64_t lease) override { return inner_->LeasePending(lease); }
  uint64_t LeaseQuietNs(uint64_t lease) override { return inner_->LeaseQuietNs(lease); }
  std::optional<Turn> TakeTurn() override { return inner_->TakeTurn(); }
  void RevokeLeases(uint64_t lease, uint32_t owner) override { inner_->RevokeLeases(lease, owner); }
  bool Intact(const InFrame& frame) override { return inner_->Intact(frame); }
  bool Receive(InFrame* frame) override;
  void Release(const InFrame& frame) override { inner_->Release(frame); }
  void Flush() override {
    inner_->Flush();
    FlushFile();
  }
  uint64_t Housekeeping(uint64_t now_ns) override {
    FlushFile();
    return inner_->Housekeeping(now_ns);
  }
  void PrepareSleep() override {
    FlushFile();
    inner_->PrepareSleep();
  }
  void CancelSleep() override { inner_->CancelSleep(); }
  void Sleep(uint64_t deadline_ns) override { inner_->Sleep(deadline_ns); }
  void Wake() override { inner_->Wake(); }
  void* AllocateShared(size_t bytes) override { return inner_->AllocateShared(bytes); }
  void FreeShared(void* address, size_t bytes) override { inner_->FreeShared(address, bytes); }
  uint32_t mtu() const override { return inner_->mtu(); }
  abi::Ip6Address address() const override { return inner_->address(); }
  /// False, so that the checksums in the file are real ones.
  bool trusted() const override { return false; }
  bool carries_references() const override { return inner_->carries_references(); }
  std::optional<LinkAddress> link_address() const override { return inner_->link_address(); }
  std::string StatisticsJson() const override;

 private:
  void Begin() { packet_.clear(); }
  void Append(const void* bytes, size_t length) {
    const auto* start = static_cast<const uint8_t*>(bytes);
    packet_.insert(packet_.end(), start, start + length);
  }
  void Record();
  void FlushFile();
  void GiveUp(int error);

  const std::string path_;
  const std::unique_ptr<Wire> inner_;
  Reporter reporter_;
  std::unique_ptr<pcap_t, PcapClose> pcap_;
  std::unique_ptr<pcap_dumper_t, PcapClose> dumper_;
  std::vector<uint8_t> packet_;
  bool unflushed_ = false;
  // What is in the buffer would be written twice, by a child that exits too.
  const ForkWatch fork_{{.prepare = [this] { FlushFile(); }}};
  uint64_t recorded_ = 0;
  uint64_t write_errors_ = 0;
};

PcapWire::PcapWire(std::unique_ptr<Wire> inner, const std::string& path)
    : path_(path),
      inner_(std::move(inner)),
      pcap_(pcap_open_dead_with_tstamp_precision(kLinkTypeIpv6, kMaxFrameBytes,
                                                 PCAP_TSTAMP_PRECISION_NANO)) {
  if (!pcap_) throw std::system_error(ENOMEM, std::generic_category(), "cannot set up libpcap");
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    throw std::system_error(errno, std::generic_category(), "cannot write pcap file " + path);
  }
  const NoFileSizeSignal guard;
  dumper_.reset(pcap_dump_fopen(pcap_.get(), file));
  if (!dumper_ || pcap_dump_flush(dumper_.get()) != 0) {
    const int error = errno;
    if (!dumper_) std::fclose(file);
    throw std::system_error(error, std::generic_category(), "cannot write pcap file " + path);
  }
  packet_.reserve(kMaxFrameBytes);
}

SendResult PcapWire::Send(const OutFrame& frame, uint64_t* lease) {
  if (dumper_) {
    // Copied before it is sent: the receiver may answer, and its owner change it, at once.
    Begin();
    Append(frame.header.data(), frame.header.size());
    for (const iovec& piece : frame.payload) Append(piece.iov_base, piece.iov_len);
  }
  const SendResult result = inner_->Send(frame, lease);
  if (result == SendResult::kSent) Record();
  return result;
}

bool PcapWire::Receive(InFrame* frame) {
  if (!inner_->Receive(frame)) return false;
  if (!frame->peer_down && dumper_) {
    Begin();
    for (const iovec& piece : frame->pieces) Append(piece.iov_base, piece.iov_len);
    if (frame->checksum_vouched) FillChecksum(packet_);
    Record();
  }
  return true;
}

void PcapWire::Record() {
  if (!dumper_) return;
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  pcap_pkthdr header = {};
  header.ts.tv_sec = now.tv_sec;
  header.ts.tv_usec = now.tv_nsec;  // nanoseconds, as the file's magic number says
  header.caplen = header.len = static_cast<bpf_u_int32>(packet_.size());
  const NoFileSizeSignal guard;
  pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, packet_.data());
  unflushed_ = true;
  if (std::ferror(pcap_dump_file(dumper_.get())) != 0) {
    GiveUp(errno);
  } else {
    ++recorded_;
  }
}

void PcapWire::FlushFile() {
  if (!unflushed_) return;
  unflushed_ = false;
  if (!dumper_) return;
  const NoFileSizeSignal guard;
  if (pcap_dump_flush(dumper_.get()) != 0) GiveUp(errno);
}

// A full disk ends the recording, not the traffic.
void PcapWire::GiveUp(int error) {
  ++write_errors_;
  dumper_.reset();
  reporter_.Tell({.code = error,
                  .what = "the recording " + path_ + " ends after " + std::to_string(recorded_) +
                          " packets: " + std::strerror(error) +
                          ": make room, or raise the limit of file sizes (ulimit -f)"});
}

std::string PcapWire::StatisticsJson() const {
  return JsonObject()
      .Add("wire", "pcap")
      .Add("recorded", recorded_)
      .Add("write_errors", write_errors_)
      .Raw("inner", inner_->StatisticsJson())
      .Text();
}

}  // namespace

std::unique_ptr<Wire> DecoratePcap(std::unique_ptr<Wire> inner, const std::string& path) {
  return std::make_unique<PcapWire>(std::move(inner), path);
}

}  // namespace qpip::wire
