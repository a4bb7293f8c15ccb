// Opening: RFC 9293 3.10.1 and the option negotiation of RFC 7323.
#include "protocols/tcp/machine_internal.h"

namespace qpip::tcp {
namespace internal {
namespace {

constexpr uint32_t kDefaultPeerMss = 1220;        // RFC 9293 3.7.1, IPv6
constexpr uint32_t kSmallestPeerMss = 88;         // a smaller one is an attack on our packet rate
constexpr uint32_t kRtoAfterLostSynUs = 3000000;  // RFC 6298 (5.7)

constexpr uint32_t kLargestReceiveBuffer = kMaxWindowField << kMaxWindowScale;

/// Smallest shift that lets a 16-bit field name the whole buffer (RFC 7323 section 2.2).
uint8_t ScaleFor(uint32_t receive_buffer) {
  uint8_t scale = 0;
  while (scale < kMaxWindowScale && (receive_buffer >> scale) > kMaxWindowField) ++scale;
  return scale;
}

void InitialiseTcb(Tcb& tcb, Options options, SequenceNumber iss, uint64_t now) {
  Clear(tcb);
  tcb.options = options;
  if (tcb.options.ack_every == 0) tcb.options.ack_every = 1;
  if (tcb.options.reassembly == 0) tcb.options.sack = false;  // there would be nothing to tell
  tcb.options.receive_buffer = Minimum(options.receive_buffer, kLargestReceiveBuffer);
  tcb.snd.iss = iss;
  tcb.snd.una = iss;
  tcb.snd.nxt = iss;
  tcb.snd.max = iss;
  tcb.snd.end = iss + 1;
  tcb.recover = iss;
  tcb.ecn.offer = options.ecn == EcnMode::kRequest;
  tcb.ecn.cut_until = iss;
  tcb.rtt.rto_us = options.rto_initial_us;
  tcb.opened_at = now;
  tcb.user_timeout_ms = options.user_timeout_ms;
  tcb.owed.user_timeout_due = options.user_timeout_option;
  tcb.first_unacked_at = now;
}

}  // namespace

void TakeSyn(Tcb& tcb, const Header& syn, uint64_t now) {
  // Before this, rcv.adv counted from zero what our own SYN offered.
  const uint32_t offered = tcb.rcv.nxt.DistanceTo(tcb.rcv.adv);
  tcb.rcv.irs = syn.sequence;
  tcb.rcv.nxt = syn.sequence + 1;
  tcb.rcv.adv = tcb.rcv.told = tcb.rcv.nxt + offered;
  tcb.owed.last_ack_sent = tcb.rcv.irs;

  tcb.timestamps_on = tcb.options.timestamps && syn.has_timestamps;
  if (tcb.timestamps_on) {
    tcb.ts_recent = syn.ts_value;
    tcb.ts_recent_time = now;
  }
  tcb.window_scaling_on = tcb.options.window_scaling && syn.has_window_scale;
  if (tcb.window_scaling_on) {
    // RFC 7323 2.3: a shift over 14 is used as 14.
    tcb.snd.wscale = syn.window_scale < kMaxWindowScale ? syn.window_scale : kMaxWindowScale;
    tcb.rcv.wscale = OfferedWindowScale(tcb);
  }
  tcb.sack_on = tcb.options.sack && syn.sack_permitted;
  NegotiateEcn(tcb, syn);
  // RFC 9293 3.7.1: Eff.snd.MSS; the options of every segment are deducted (RFC 6691).
  uint32_t mss = syn.has_mss ? syn.mss : kDefaultPeerMss;
  mss = Minimum(Maximum(mss, kSmallestPeerMss), Maximum(tcb.options.mss, kSmallestPeerMss));
  tcb.snd.mss = tcb.timestamps_on ? mss - kTimestampBytes : mss;

  TakeUserTimeout(tcb, syn);

  // The window of a SYN is never scaled (RFC 7323 2.2).
  tcb.snd.wnd = syn.window;
  tcb.snd.max_wnd = syn.window;
  tcb.snd.wl1 = syn.sequence;
  tcb.snd.wl2 = tcb.snd.iss;
}

uint8_t OfferedWindowScale(const Tcb& tcb) { return ScaleFor(tcb.options.receive_buffer); }

void EnterEstablished(Tcb& tcb, uint8_t syn_retransmissions, uint64_t now) {
  SetState(tcb, State::kEstablished);
  tcb.retransmit_deadline = kNever;
  tcb.timed_out = false;
  tcb.syn_ack_forgone = false;
  tcb.recover = tcb.snd.iss;
  tcb.ecn.cut_until = tcb.snd.iss;
  tcb.first_unacked_at = now;
  NoteHeard(tcb, now);
  if (syn_retransmissions > 0 && !tcb.rtt.valid) {
    // RFC 6298 (5.7): an RTO that proved too short for the SYN is not used for data.
    tcb.rtt.rto_us = Minimum(Maximum(tcb.rtt.rto_us, kRtoAfterLostSynUs), tcb.options.rto_max_us);
  }
  tcb.rtt.backoff = 0;
  if (tcb.options.mtu_probing == MtuProbing::kAlways) StartMtuSearch(tcb);
  // RFC 6928 section 2: one lost SYN may be bad luck, two are congestion.
  StartCongestionControl(tcb, syn_retransmissions > 1);
  StartRecovery(tcb);
}

}  // namespace internal

void OpenActive(Tcb& tcb, const Options& options, SequenceNumber iss, uint64_t now) {
  internal::InitialiseTcb(tcb, options, iss, now);
  internal::SetState(tcb, State::kSynSent);
}

void OpenPassive(Tcb& tcb, const Options& options, SequenceNumber iss, const Segment& syn,
                 uint64_t now) {
  internal::InitialiseTcb(tcb, options, iss, now);
  tcb.passive = true;
  internal::TakeSyn(tcb, syn.header, now);
  internal::SetState(tcb, State::kSynReceived);
}

}  // namespace qpip::tcp
