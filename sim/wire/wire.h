// A wire: carries IPv6 packets between ports. The real-time backend (sim/lanai) drives one; the
// decorators (fault, pcap) wrap one.
//
// A wire belongs to one NIC port and is called from one thread at a time (whoever runs the core),
// except where a method says otherwise.
#pragma once

#include <sys/uio.h>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host_lib/port/host_port.h"
#include "nic_fw/abi/work_queue.h"

namespace qpip::wire {

/// Address of a port on an Ethernet link.
using LinkAddress = std::array<uint8_t, 6>;

/// A frame to send: header bytes, then payload pieces in this process's memory. From the IPv6
/// header on: on an Ethernet link the wire itself writes the 14 bytes in front, and takes them off
/// received frames, as a NIC's MAC does.
struct OutFrame {
  std::span<const uint8_t> header;  ///< IPv6 header and what follows it; copied
  std::span<const iovec> payload;   ///< may be empty
  /// True when the memory behind `payload` stays unchanged until the lease ends, so that the wire
  /// may refer to it instead of copying.
  bool payload_stable = false;
  /// TCP: the wire is to cut the payload into segments of so many bytes, each with the headers
  /// (RFC 9293; PSH and FIN on the last only) and to compute each one's checksum. 0: not to be cut.
  /// Only up to segmentation_limit().
  uint32_t segment_size = 0;
  LinkAddress link_address = {};  ///< Ethernet: whom it goes to
  bool summed = false;            ///< its transport checksum has been computed (see Wire::trusted)
  uint32_t owner = 0;             ///< whose payload it is: the caller's number, for RevokeLeases
};

enum class SendResult : uint8_t {
  kSent = 0,
  kBusy = 1,     ///< no room towards the destination now
  kNoRoute = 2,  ///< no port has the destination address
  kStopped = 3,  ///< kBusy, and the destination has read nothing for kStoppedNs
};

/// A receiver that has frames to read and has read none for so long is taken for stopped.
inline constexpr uint64_t kStoppedNs = 250'000'000;

/// A received frame, borrowed from the wire until Release. `pieces` are readable by this process.
struct InFrame {
  std::span<const iovec> pieces;  ///< whole frame, in order; the first piece holds at least
                                  ///< min(length, 256) bytes
  uint32_t length = 0;
  uint64_t token = 0;  ///< the wire's own
  /// The transport checksum need not be verified: the content cannot have been damaged, or has
  /// been verified already. Set by every wire for every frame.
  bool checksum_vouched = false;
  bool revocable = false;     ///< its sender may take the payload back: see Wire::Intact
  bool peer_down = false;     ///< no frame: `peer` died, detached or cannot be dealt with
  abi::Ip6Address peer = {};  ///< peer_down: who; unspecified: everybody
};

/// Where a wire tells what it cannot do (abi::Trouble). Called within the wire's methods, as the
/// caller of those: it must neither wait nor call the wire.
using Report = std::function<void(const abi::Trouble&)>;

/// One of the turns that threads of a fabric's ports have at a processor.
struct Turn {
  uint32_t processor = 0;
  uint32_t number = 0;  ///< counted there
};

class Wire {
 public:
  virtual ~Wire() = default;

  /// From now on what goes wrong is told to `report`; what has before, at once. A decorator passes
  /// it on, and may report of its own. Without it troubles are only counted.
  virtual void ReportTo(Report report) = 0;

  /// Sends towards the destination address in the IPv6 header. `*lease` is set non-zero when the
  /// wire holds a reference to payload memory.
  virtual SendResult Send(const OutFrame& frame, uint64_t* lease) = 0;
  /// True while the reference behind `lease` is held. Per destination, leases end in order.
  virtual bool LeasePending(uint64_t lease) = 0;
  /// Of a pending lease: nanoseconds for which its receiver has given nothing back, as Housekeeping
  /// has last seen it. A receiver that runs gives frames back at once; one that is stopped does
  /// not.
  virtual uint64_t LeaseQuietNs(uint64_t lease) {
    (void)lease;
    return 0;
  }
  /// Takes back what `owner`'s frames up to the one behind `lease` refer to. The memory may change
  /// from now on: whoever reads it later finds out (Intact), and none of it is delivered.
  virtual void RevokeLeases(uint64_t lease, uint32_t owner) {
    (void)lease;
    (void)owner;
  }
  /// Borrows the next frame or link event; several may be borrowed at a time (at least 64).
  virtual bool Receive(InFrame* frame) = 0;
  /// Cheap: true when Receive would find nothing. False when that is not known.
  virtual bool NothingArrived() const { return false; }
  /// Of a borrowed frame that is `revocable`, asked after its bytes were copied: are they what was
  /// sent? False when the sender has taken them back; they are then to be thrown away.
  virtual bool Intact(const InFrame& frame) {
    (void)frame;
    return true;
  }
  /// Gives a frame back; in any order.
  virtual void Release(const InFrame& frame) = 0;
  /// Called after a batch of sends: makes sure that sleeping receivers are woken.
  virtual void Flush() = 0;
  /// Slow work: liveness of peers, delayed frames of decorators. Called when `now_ns` has reached
  /// the time the previous call returned. Returns when it wants to be called next (UINT64_MAX:
  /// not).
  virtual uint64_t Housekeeping(uint64_t now_ns) = 0;

  /// Prepares for sleep: from now on a sender that finds this port asleep wakes it. After this,
  /// the caller must look at Receive once more, then call Sleep or CancelSleep. A wake-up in
  /// between ends the Sleep of the thread that prepared it; a thread prepares one wire at a time.
  virtual void PrepareSleep() = 0;
  virtual void CancelSleep() = 0;
  /// Sleeps until a frame arrives, room appears towards a destination that was busy, `Wake` is
  /// called, or the deadline (CLOCK_MONOTONIC; UINT64_MAX: none). May return early. Callable
  /// without the core's lock, by several threads.
  virtual void Sleep(uint64_t deadline_ns) = 0;
  /// Ends Sleep in this process. Any thread.
  virtual void Wake() = 0;
  /// The calling thread has the processor, perhaps again. The difference of two numbers tells what
  /// the other ports of the fabric have done there meanwhile; nullopt: nobody knows of them. Also
  /// taken by Sleep. Any thread.
  virtual std::optional<Turn> TakeTurn() { return std::nullopt; }

  /// Memory that Send can pass by reference to other processes; nullptr when there is none.
  /// Any thread.
  virtual void* AllocateShared(size_t bytes) = 0;
  virtual void FreeShared(void* address, size_t bytes) = 0;

  virtual uint32_t mtu() const = 0;
  virtual abi::Ip6Address address() const = 0;
  /// True when no transport checksum need be computed for frames sent: the content cannot be
  /// damaged on the way, or the wire fills it in. Received frames say so each for itself.
  virtual bool trusted() const = 0;
  /// True when several references to host memory may travel (payload_stable is honoured).
  virtual bool carries_references() const = 0;
  /// Bytes of the largest frame, from the IPv6 header on, that the wire cuts into segments
  /// (OutFrame::segment_size); 0: it cuts none.
  virtual uint32_t segmentation_limit() const { return 0; }
  /// The port's own address on an Ethernet link, where OutFrame::link_address counts; nullopt on a
  /// link without addresses.
  virtual std::optional<LinkAddress> link_address() const { return std::nullopt; }
  /// Counters as a JSON object.
  virtual std::string StatisticsJson() const = 0;
};

/// Parameters of a wire or decorator, from the URI's query.
struct FaultOptions {
  double loss = 0;  ///< probability a frame is dropped, each direction's sending side
  double duplicate = 0;
  double reorder = 0;           ///< probability a frame is held back behind up to 3 later ones
  double corrupt = 0;           ///< probability one bit is flipped
  uint64_t delay_us = 0;        ///< added to every frame
  uint64_t flap_period_ms = 0;  ///< link goes down for flap_down_ms every period; 0: never
  uint64_t flap_down_ms = 0;
  uint64_t cut_after_frames = 0;  ///< drop everything after so many frames sent; 0: never
  uint64_t seed = 1;
  bool any() const {
    return loss > 0 || duplicate > 0 || reorder > 0 || corrupt > 0 || delay_us > 0 ||
           (flap_period_ms > 0 && flap_down_ms > 0) || cut_after_frames > 0;
  }
};

/// Bytes of the largest packet that a wire may be opened for (RFC 8200 section 5; 40 + 65535).
inline constexpr uint32_t kMinMtu = 1280;
inline constexpr uint32_t kMaxMtu = 65575;

/// The rule of fabric names, in words that "are accepted" follows.
inline constexpr char kFabricNameRule[] = "1 to 64 letters, digits, '-', '_' or '.'";
bool IsFabricName(std::string_view name);
/// 32 KiB of payload, 40 IPv6, 32 TCP with timestamps.
inline constexpr uint32_t kFabricMtu = 32840;

struct FabricOptions {
  std::string name;              ///< see IsFabricName
  abi::Ip6Address address = {};  ///< this port's address; must not be in use by a live port
  uint32_t mtu = kFabricMtu;     ///< bytes
  bool copy = false;             ///< never pass payload by reference
  bool checksum = false;         ///< pretend not to be trusted: checksums are computed
};

/// A peer of a `udp:` wire.
struct UdpPeer {
  abi::Ip6Address address = {};  ///< its NIC's; unspecified: every address that is not known
  std::string host;              ///< name, IPv4 or IPv6 address
  uint16_t port = 0;
};

/// Bytes of the largest IPv6 packet in a datagram that IPv4 can carry.
inline constexpr uint32_t kMaxUdpMtu = 65535 - 20 - 8;
struct UdpOptions {
  std::string host;              ///< where to bind; empty: every address of this machine
  uint16_t port = 0;             ///< 0: any free one
  abi::Ip6Address address = {};  ///< this port's
  uint32_t mtu = 0;              ///< bytes; 0: what the links to the peers take
  bool offload = true;           ///< trains of segments, sent and received
  std::vector<UdpPeer> peers;    ///< static table
  /// Whether a peer that is not in the table is answered where it was heard from last. Not given:
  /// when the table is empty.
  std::optional<bool> learn;
};

/// A path of 1500 bytes less IPv6, UDP and WireGuard's own is 1420, everybody's custom; this is the
/// multiple of ChaCha20's 64-byte blocks below it, which libcrypto seals a seventh faster a byte.
inline constexpr uint32_t kWireguardMtu = 1408;
/// Bytes of the largest IPv6 packet, sealed, in a datagram that IPv4 can carry.
inline constexpr uint32_t kMaxWireguardMtu = kMaxUdpMtu - 32;

/// A WireGuard interface. Secrets are in files, so that nothing here may not be shown.
struct WireguardOptions {
  std::string config = {};       ///< file as wg-quick(8) has it; empty: the following say it all
  std::string host = {};         ///< where to bind; empty: every address of this machine
  uint16_t port = 0;             ///< 0: the file's, or any free one
  std::string key_file = {};     ///< file with the private key; empty: in `config`
  std::string peers_file = {};   ///< file with [Peer] sections; empty: in `config`
  abi::Ip6Address address = {};  ///< this port's; unspecified: the file's
  uint32_t mtu = 0;              ///< bytes; 0: the file's, or kWireguardMtu
  bool offload = true;           ///< trains of segments, sent and received
  std::string key_log = {};      ///< file that keys are written to; empty: none
  uint32_t rekey_after_s = 120;  ///< seconds after which keys are renewed; 1 to 120
};

/// An address of the kernel's on a link, and the length of the link's prefix.
struct HostPrefix {
  abi::Ip6Address address = {};
  uint8_t length = 64;  ///< bits, 1 to 128
};

/// A wire to the Linux kernel's stack.
struct KernelWireOptions {
  std::string interface;           ///< made if there is none of that name
  bool ethernet = false;           ///< a TAP device rather than a TUN device
  abi::Ip6Address address = {};    ///< this port's
  uint32_t mtu = 0;                ///< 0: the device's
  std::optional<HostPrefix> host;  ///< the kernel's address; given: its side is set up
  std::string netns;               ///< network namespace of the device: name or path; empty: ours
  bool offload = true;             ///< checksums and segmentation
  LinkAddress mac = {};            ///< of this port on an Ethernet link, unicast
};

/// A port on a fabric inside this process (`mem:NAME`). Throws std::system_error,
/// std::runtime_error with a message that says what to do (address in use, fabric full).
std::unique_ptr<Wire> OpenMemoryWire(const FabricOptions& options);
/// A port on a fabric in shared memory (`shm:FABRIC`), reachable by this user's processes.
std::unique_ptr<Wire> OpenSharedMemoryWire(const FabricOptions& options);
/// IPv6 packets in UDP datagrams. Throws std::system_error, std::runtime_error with a message that
/// says what to do.
std::unique_ptr<Wire> OpenUdpWire(const UdpOptions& options);
/// Packets through WireGuard, without privileges. Throws std::system_error, std::runtime_error with
/// a message that says what to do.
std::unique_ptr<Wire> OpenWireguardWire(const WireguardOptions& options);
/// A TUN or TAP device. Throws std::system_error, std::runtime_error with a message that says what
/// to do.
std::unique_ptr<Wire> OpenKernelWire(const KernelWireOptions& options);
/// Damages traffic on its way out, reproducibly. Forces checksums.
std::unique_ptr<Wire> DecorateFault(std::unique_ptr<Wire> inner, const FaultOptions& options);
/// Records both directions to a pcap file (LINKTYPE_IPV6). Forces checksums.
std::unique_ptr<Wire> DecoratePcap(std::unique_ptr<Wire> inner, const std::string& path);

}  // namespace qpip::wire
