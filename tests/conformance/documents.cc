// The requirements. Order: as in the RFC.
#include "suite.h"

namespace qpip::conformance {
namespace {

constexpr char kIpv4[] = "of IPv4 only";
constexpr char kSourceRoute[] =
    "IPv4 source routes; IPv6's routing header of type 0 is deprecated (RFC 5095) and refused";

/// Push, windows, urgent data.
std::vector<Requirement> Rfc9293Text() {
  return {
      {"MAY-16", "3.9.1.2", "text that was not pushed may be queued and sent together",
       "sends leave as soon as the windows allow"},
      {"SHLD-27", "3.9.1.2", "successive pushes are collapsed when a segment is made of several"},
      {"MAY-15", "3.9.1.2", "the application may have a say in the PSH bit",
       "it has not: every send ends with PSH"},
      {"MUST-60", "3.9.1.2", "without a say: text is not held back for ever"},
      {"MUST-61", "3.9.1.2", "without a say: the last segment there is carries PSH"},
      {"MAY-17", "3.9.1.3", "a received PSH may be passed on to the application",
       "by `segment` framing, where it ends a message; not by `stream`"},
      {"SHLD-28", "3.9.1.2", "segments of the largest size are sent where possible"},

      {"MUST-1", "3.1", "the window is an unsigned number"},
      {"REC-1", "3.1", "windows are kept in 32 bits"},
      {"SHLD-14", "3.8.6", "a receiver does not shrink its window"},
      {"SHLD-15", "3.8.6", "no new data is sent into a window that has shrunk"},
      {"SHLD-16", "3.8.6", "what is unacknowledged within the shrunk window is sent again"},
      {"SHLD-17", "3.8.6", "data beyond the shrunk window does not time the connection out"},
      {"MUST-34", "3.8.6", "a sender copes with a window that shrinks"},
      {"MAY-8", "3.8.6.1", "a receiver may keep its window shut for ever"},
      {"MUST-35", "3.8.6", "a window that has shrunk to zero is probed"},
      {"MUST-36", "3.8.6.1", "zero windows are probed"},
      {"SHLD-29", "3.8.6.1", "the first probe leaves after a retransmission time-out"},
      {"SHLD-30", "3.8.6.1", "the time between probes doubles"},
      {"MUST-37", "3.8.6.1", "a peer that answers probes may keep its window shut"},
      {"MAY-7", "3.8.6", "data beyond the shrunk window may be sent again", "it is not"},
      {"MUST-66", "3.4", "RST and URG are processed at a zero window"},

      {"MUST-30", "3.8.5", "the urgent mechanism is implemented"},
      {"MUST-62", "3.8.5", "the urgent pointer points behind the urgent data"},
      {"MUST-31", "3.8.5", "urgent data may have any length"},
      {"MUST-32", "3.8.5", "the application is told when urgent data begins"},
      {"MUST-33", "3.8.5", "the application can learn how much urgent data is left"},
      {"SHLD-13", "3.8.5", "new applications do not use the urgent mechanism",
       "the call that sends it says so (`kSendUrgent`)"},
  };
}

/// Options, checksums.
std::vector<Requirement> Rfc9293Headers() {
  return {
      {"MUST-4", "3.1", "end of list, no-operation and MSS are supported"},
      {"MUST-5", "3.1", "options are accepted in any segment"},
      {"MUST-6", "3.1", "unknown options are ignored"},
      {"MUST-68", "3.1", "options other than those of one byte have a length"},
      {"MUST-7", "3.1", "impossible option lengths do no harm"},
      {"MUST-64", "3.2", "options need not be aligned"},
      {"MUST-14", "3.7.1", "the MSS option is sent and heeded"},
      {"SHLD-5", "3.7.1", "the MSS option is sent unless it is the default"},
      {"MAY-3", "3.7.1", "the MSS option may be sent always"},
      {"MUST-15", "3.7.1", "without an MSS option 1220 bytes are assumed over IPv6"},
      {"MUST-16", "3.7.1", "the segment size is the smaller of what both ends take, less options"},
      {"SHLD-6", "3.7.3", "the MSS sent is that of the interface's least MTU",
       "an interface here has one MTU"},
      {"MUST-65", "3.2", "the MSS option is sent with SYN only"},
      {"MUST-67", "3.7.1", "the MSS sent is what IP can reassemble less the TCP header",
       "the MTU counts: a segment is not to travel in fragments, though those are reassembled"},
      {"MUST-69", "3.1", "the header is padded with zeros"},

      {"MUST-2", "3.1", "checksums are sent"},
      {"MUST-3", "3.1", "checksums are verified"},
  };
}

/// Sequence numbers, opening, closing.
std::vector<Requirement> Rfc9293OpenClose() {
  return {
      {"MUST-8", "3.4.1", "initial sequence numbers follow a clock"},
      {"SHLD-1", "3.4.1", "... and differ between connections by a keyed hash"},
      {"MUST-9", "3.4.1", "the hash cannot be computed from outside"},

      {"MUST-10", "3.5", "simultaneous open"},
      {"MUST-11", "3.5", "SYN-RECEIVED knows whether it comes from an active or a passive open"},
      {"MUST-41", "3.9.1.1", "a passive open does not disturb other connections"},
      {"MUST-42", "3.9.1.1", "listening on a port of a connection that is being opened"},
      {"MUST-44", "3.9.1.1", "the source address of a SYN is asked of IP"},
      {"MUST-45", "3.9.1.1", "... and stays that of the connection"},
      {"MUST-46", "3.9.1.1", "an open to an invalid address, as a multicast one, is refused"},
      {"MUST-57", "3.9.2.3", "a SYN to a multicast address is discarded silently"},

      {"SHLD-2", "3.5.3", "RST may carry data"},
      {"MUST-12", "3.6", "the application is told of an abort from afar"},
      {"MAY-1", "3.6.1", "closing may end both directions"},
      {"SHLD-3", "3.6.1", "... and then data that is lost is answered by RST"},
      {"MUST-13", "3.6.1", "TIME-WAIT lasts twice the MSL",
       "`time_wait_ms`, 60 s by default as in Linux; the RFC's own MSL of 2 min is arbitrary "
       "by its own words"},
      {"MAY-2", "3.6.1",
       "a SYN may reopen a connection in TIME-WAIT, with initial numbers beyond those of the old "
       "one",
       "TIME-WAIT does not come back where a SYN that passed for a new one was an old duplicate, "
       "which takes half of the sequence space, or of the timestamps, in its life"},
      {"SHLD-4", "3.6.1", "... by its timestamps (RFC 6191)"},
  };
}

/// Retransmission, acknowledgement, what is small, giving up, keep-alive.
std::vector<Requirement> Rfc9293Timers() {
  return {
      {"MUST-19", "3.8.2", "exponential back-off, slow start and congestion avoidance"},
      {"MAY-4", "3.8.1", "a retransmission may have the same IP identification",
       "IPv6 has none outside of fragments"},
      {"MUST-18", "3.8.1", "Karn's algorithm"},

      {"MUST-58", "3.10.7.4", "acknowledgements are aggregated"},
      {"SHLD-31", "3.10.7.4", "segments ahead of their turn are kept"},
      {"MUST-59", "3.10.7.4", "all that was kept is dealt with before it is acknowledged"},
      {"MAY-13", "3.10.7.4", "a segment ahead of its turn may be acknowledged at once"},
      {"SHLD-18", "3.8.6.3", "acknowledgements are delayed",
       "where `ack_on_batch_end` is off; on, they leave when nothing more has arrived"},
      {"MUST-40", "3.8.6.3", "... by less than 0.5 s"},
      {"SHLD-19", "3.8.6.3", "... and every second full-sized segment is acknowledged"},
      {"MUST-39", "3.8.6.2.2", "a receiver does not open its window in small steps"},

      {"MUST-49", "3.9.2", "the hop limit can be configured"},
      {"MUST-38", "3.8.6.2.1", "a sender does not fill small windows"},
      {"SHLD-7", "3.7.4", "Nagle's algorithm"},
      {"MUST-17", "3.7.4", "... which an application can switch off"},

      {"MUST-20", "3.8.3",
       "R1 and R2: many retransmissions are told to IP, more end the connection",
       "the end comes after a time, R2; IP is not told, as there is one way out"},
      {"MUST-21", "3.8.3", "an application can set R2"},
      {"SHLD-9", "3.8.3", "an application is told when R1 is reached"},
      {"SHLD-10", "3.8.3", "R1 is at least three retransmissions"},
      {"SHLD-11", "3.8.3", "R2 is at least 100 s"},
      {"MUST-22", "3.8.3", "SYNs are sent again and given up in the same way"},
      {"MUST-23", "3.8.3", "... R2 of a SYN being at least 3 min"},

      {"MAY-5", "3.8.4", "keep-alives may be sent"},
      {"MUST-24", "3.8.4", "an application switches them on or off"},
      {"MUST-25", "3.8.4", "they are off by default"},
      {"MUST-26", "3.8.4", "they are sent only when nothing has arrived for an interval"},
      {"MUST-27", "3.8.4", "the interval can be configured"},
      {"MUST-28", "3.8.4", "it is at least two hours by default",
       "it is never; whoever switches them on names the interval"},
      {"MUST-29", "3.8.4", "one that is not answered does not end the connection"},
      {"SHLD-12", "3.8.4", "they carry no data"},
      {"MAY-6", "3.8.4", "they may carry an octet of garbage", "they carry none"},
  };
}

/// Towards IP and the application.
std::vector<Requirement> Rfc9293Interfaces() {
  return {
      {"MUST-50", "3.9.2", "IP options that are not understood are ignored"},
      {"MAY-10", "3.9.2", "IP timestamps", kIpv4},
      {"MAY-11", "3.9.2", "record route", kIpv4},
      {"MUST-51", "3.9.2.1", "an application can give a source route", kSourceRoute},
      {"MUST-52", "3.9.2.1", "... which overrides that of a datagram", kSourceRoute},
      {"MUST-53", "3.9.2.1", "a source route is answered by its return route", kSourceRoute},
      {"SHLD-24", "3.9.2.1", "a later source route overrides", kSourceRoute},

      {"MUST-54", "3.9.2.2", "ICMP errors are acted on"},
      {"SHLD-25", "3.9.2.2", "soft unreachable errors are told to the application"},
      {"MUST-56", "3.9.2.2", "soft errors do not end a connection"},
      {"SHLD-26", "3.9.2.2", "hard errors do",
       "while it is being opened; one that is established outlives them (RFC 5927)"},
      {"MUST-55", "3.9.2.2", "source quench is discarded", "of IPv4 only; ICMPv6 has none"},

      {"MUST-63", "3.9.2.3", "a SYN from an invalid address is ignored"},

      {"MUST-47", "3.9.1.8",
       "soft errors are reported to the application, excessive retransmissions as well"},
      {"SHLD-20", "3.9.1.8", "... which can switch that off", "there is nothing to switch off"},
      {"MUST-48", "3.9.1.9", "an application can set the DiffServ field"},
      {"SHLD-21", "3.9.1.9", "... and change it", "there is no call for it"},
      {"SHLD-22", "3.9.1.9", "... and it is passed to IP as it is"},
      {"SHLD-23", "3.9.2", "an application does not change it during a connection",
       "there is no call for it"},
      {"MAY-9", "3.9.1.9", "a received DiffServ field may be passed on", "it is not"},
      {"MAY-14", "3.9.1.7", "a FLUSH call", "there is none; Abort flushes"},
      {"MUST-43", "3.9.1.1", "an open may name the local address",
       "a NIC has exactly one; an application chooses the NIC"},

      {"MAY-12", "3.10.7.4", "protection against injected data (RFC 5961, 5)"},
      {"SHLD-8", "3.8.2", "ECN"},
      {"MAY-18", "3.8.2", "other congestion control"},
  };
}

Document Rfc9293() {
  Document document = {"RFC 9293", "Transmission Control Protocol", Rfc9293Text()};
  for (const auto& part :
       {Rfc9293Headers(), Rfc9293OpenClose(), Rfc9293Timers(), Rfc9293Interfaces()}) {
    document.requirements.insert(document.requirements.end(), part.begin(), part.end());
  }
  return document;
}

Document Rfc9293States() {
  return {
      "RFC 9293 3.10.7",
      "segment arrives",
      {
          {"CLOSED-1", "3.10.7.1", "a segment for no connection is answered by RST"},
          {"CLOSED-2", "3.10.7.1", "... except an RST"},
          {"LISTEN-1", "3.10.7.2", "an RST is ignored"},
          {"LISTEN-2", "3.10.7.2", "an ACK is answered by RST"},
          {"LISTEN-3", "3.10.7.2", "a SYN is answered by SYN-ACK"},
          {"SYN-SENT-1", "3.10.7.3", "an ACK of something else is answered by RST"},
          {"SYN-SENT-2", "3.10.7.3", "an RST without or with a wrong ACK is ignored"},
          {"SYN-SENT-3", "3.10.7.3", "an RST that acknowledges the SYN refuses the connection"},
          {"SYN-SENT-4", "3.10.7.3", "text with the SYN is kept or comes again"},
          {"OTHER-1", "3.10.7.4", "a segment outside the window is answered by an ACK"},
          {"OTHER-2", "3.10.7.4", "a duplicate is trimmed to what is new"},
          {"OTHER-3", "3.10.7.4", "an ACK of what was not sent is answered by an ACK, and ignored"},
          {"OTHER-4", "3.10.7.4", "simultaneous close goes through CLOSING"},
          {"OTHER-5", "3.10.7.4", "text after the peer's FIN is ignored"},
          {"OTHER-6", "3.10.7.4",
           "a FIN sent again in TIME-WAIT is acknowledged, and the wait "
           "begins anew"},
          {"OTHER-7", "3.10.7.4", "a segment without ACK is dropped"},
      }};
}

Document Rfc5961() {
  return {
      "RFC 5961",
      "robustness against blind attacks",
      {
          {"3.2-1", "3.2", "RST at exactly RCV.NXT resets"},
          {"3.2-2", "3.2", "RST elsewhere in the window is challenged"},
          {"3.2-3", "3.2", "RST outside the window is dropped silently"},
          {"4.2-1", "4.2", "a SYN in a synchronised state is challenged"},
          {"5.2-1", "5.2", "an ACK older than the largest window is challenged, its text dropped"},
          {"5.2-2", "5.2", "an ACK within the largest window is taken",
           "not one of bytes that were never sent: with a window of megabytes most guesses are "
           "such"},
          {"7-1", "7", "challenge ACKs are limited"},
      }};
}

Document Rfc6298() {
  return {
      "RFC 6298",
      "retransmission timer",
      {
          {"2.1", "2", "before a measurement the RTO is 1 s"},
          {"2.2", "2",
           "the first measurement R gives SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR"},
          {"2.3", "2", "later ones are smoothed by 1/8 and 1/4"},
          {"2.4", "2", "an RTO below 1 s is rounded up to 1 s",
           "deliberate, a SHOULD; as in Linux the floor, `rto_min_us`, is one of K * RTTVAR rather "
           "than of the sum"},
          {"2.5", "2", "the RTO may be bounded, by 60 s at least"},
          {"3", "3", "retransmitted segments are not measured, unless by timestamps"},
          {"5.1-5.3", "5",
           "the timer runs while data is outstanding, and starts again with each "
           "ACK of new data"},
          {"5.4", "5", "when it expires the earliest segment is sent again"},
          {"5.5", "5", "... and the RTO doubles"},
          {"5.7", "5", "after a lost SYN the RTO is 3 s for the data",
           "where no timestamps tell how long the round trip was"},
      }};
}

Document Rfc5681() {
  return {
      "RFC 5681",
      "congestion control",
      {
          {"3.1-1", "3.1", "the initial window is bounded (RFC 6928: ten segments)"},
          {"3.1-2", "3.1", "slow start grows cwnd by at most one segment an ACK",
           "RFC 3465 with L = 2"},
          {"3.1-3", "3.1", "congestion avoidance grows cwnd by one segment a round trip"},
          {"3.1-4", "3.1", "a time-out sets ssthresh to half the flight and cwnd to one segment"},
          {"3.1-5", "3.1", "... but not again for the same data sent a second time"},
          {"3.2-1", "3.2", "the third duplicate ACK causes a retransmission"},
          {"3.2-2", "3.2", "the first two may each let one new segment out (RFC 3042)"},
          {"3.2-3", "3.2", "afterwards cwnd is ssthresh, half the flight"},
          {"4.1", "4.1", "after an idle RTO cwnd is no more than the restart window"},
          {"4.2-1", "4.2", "an ACK at once for a segment that fills a gap"},
          {"4.2-2", "4.2", "no more than one ACK a segment, but for window updates"},
      }};
}

Document Rfc6582() {
  return {"RFC 6582",
          "NewReno",
          {
              {"3.2-3", "3.2", "a partial ACK causes the next hole to be sent again"},
              {"3.2-4", "3.2", "a full ACK ends the recovery"},
              {"3.2-1", "3.2", "duplicate ACKs after a time-out start no fast retransmit"},
          }};
}

Document Rfc7323() {
  return {"RFC 7323",
          "window scale and timestamps",
          {
              {"2.2-1", "2.2", "scaling only when both SYNs have the option"},
              {"2.2-2", "2.2", "windows of SYNs are not scaled"},
              {"2.3-1", "2.3", "a shift above 14 counts as 14"},
              {"3.2-1", "3.2", "timestamps only when both SYNs have them"},
              {"3.2-2", "3.2", "... then every segment has them, which is a MUST, but for RST"},
              {"3.2-4", "3.2", "... which has them as well, a SHOULD",
               "where this end has a connection; see 5.2"},
              {"3.2-3", "3.2", "a segment without them is dropped, and does not end the connection",
               "to drop it is a SHOULD"},
              {"4.3-1", "4.3",
               "of segments that are acknowledged together TSecr echoes the first, which advanced "
               "the window's left edge"},
              {"4.3-2", "4.3", "with a gap, TSecr stays that of the last segment in order"},
              {"5.2-1", "5.2",
               "an RST that answers a segment with timestamps has them, and echoes that segment's"},
              {"5.2-2", "5.2", "RST is not subject to PAWS"},
              {"5.3-1", "5.3", "PAWS drops an old timestamp and acknowledges"},
              {"5.5-1", "5.5", "after 24 days of silence any timestamp is taken"},
              {"5.4-1", "5.4", "the clock of timestamps ticks between 1 ms and 1 s"},
          }};
}

Document Rfc2018() {
  return {"RFC 2018",
          "selective acknowledgement",
          {
              {"2-1", "2", "SACK-permitted is sent with SYN only, and SACK only when both permit"},
              {"4-1", "4", "the first block is that of the segment that caused the ACK"},
              {"4-2", "4", "as many blocks as fit, the most recent first"},
              {"5-1", "5", "what is sacked is not sent again before a time-out"},
              {"8-1", "8",
               "after a time-out what is sacked may have been dropped: SND.UNA is sent again"},
          }};
}

Document Rfc2883() {
  return {"RFC 2883",
          "duplicate SACK",
          {
              {"4-1", "4", "a full duplicate is told by the first block, below the ACK"},
              {"4-2", "4", "... once"},
              {"4-3", "4", "a duplicate of a held segment is told above the ACK, then its range"},
          }};
}

Document Rfc6675() {
  return {"RFC 6675",
          "loss recovery with SACK, as far as RFC 8985 has not replaced it",
          {
              {"5-1", "5",
               "what any ACK says of the peer's holdings is noted, also of one that was overtaken",
               "any that RFC 5961 5.2 lets in: none that is older than the largest window"},
          }};
}

Document Rfc8985() {
  return {
      "RFC 8985",
      "RACK-TLP",
      {
          {"6.2-1", "6.2",
           "a segment is lost once one sent later is delivered, and three are sacked"},
          {"6.2-2", "6.2", "fewer sacks wait for a reordering window"},
          {"6.2-3", "6.2", "a lost retransmission is found without a time-out"},
          {"6.2-4", "6.2", "RACK.min_RTT is the least of recent round trips",
           "it is the least of the connection: on a path that has become longer D-SACKs widen the "
           "window"},
          {"6.3-1", "6.3",
           "a time-out deems lost the first segment, and others by the same rule as an ACK",
           "it deems lost whatever is not sacked, as RFC 5681 3.1 does; F-RTO tells when it was "
           "not"},
          {"7.1-1", "7.1", "a recovery that begins forgets the probe"},
          {"7.2-1", "7.2", "a tail without ACK is probed after two round trips",
           "and 2 ms for the peer's scheduling"},
          {"7.2-2", "7.2", "a time-out that would come first is a probe instead"},
          {"7.2-3", "7.2", "a lone segment may be given time for a delayed ACK",
           "`rto_min_us`, as in Linux; what fits one segment counts as one"},
          {"7.3-1", "7.3", "a probe is new data, else the last segment again"},
          {"7.3-2", "7.3",
           "no probe unless the round trip has been measured since the last one, or at all",
           "then none is scheduled either, and the time-out stays where it was"},
          {"7.4-1", "7.4.2", "a loss that the probe has repaired counts as congestion"},
          {"7.4-2", "7.4.2",
           "... but not when a D-SACK or a second ACK shows that both segments have arrived"},
      }};
}

Document Rfc3168() {
  return {"RFC 3168",
          "ECN",
          {
              {"5.3-1", "5.3",
               "a mark on a fragment is on the packet put together, or the packet is dropped"},
              {"5.3-2", "5.3", "... which it must be when another fragment is Not-ECT"},
              {"5.3-3", "5.3", "unmarked fragments make an unmarked packet"},
          }};
}

Document Rfc8200() {
  return {"RFC 8200",
          "IPv6",
          {
              {"4.1-1", "4.1", "extension headers may be in any order, but hop-by-hop is first"},
              {"4.2-1", "4.2", "an unknown option of type 00 is skipped"},
              {"4.2-2", "4.2", "... of type 01 discards the packet"},
              {"4.2-3", "4.2", "... of type 10 also sends a parameter problem"},
              {"4.4-1", "4.4", "a routing header with no segments left is skipped"},
              {"4.4-2", "4.4", "... with segments left and of an unknown type: parameter problem"},
              {"4.5-1", "4.5", "fragments are reassembled"},
              {"4.5-2", "4.5", "atomic fragments are taken (RFC 6946)"},
              {"4.7-1", "4.7", "no next header: what follows is ignored"},
              {"4-2", "4", "an unknown next header: parameter problem, code 1"},
              {"8.1-1", "8.1", "a UDP datagram without checksum is dropped"},
              {"8.1-2", "8.1", "a UDP checksum that comes to 0 is sent as ffff"},
          }};
}

Document Rfc4443() {
  return {"RFC 4443",
          "ICMPv6",
          {
              {"4.2-1", "4.2", "an echo request is answered with its data"},
              {"3.1-1", "3.1", "UDP to a port without listener: port unreachable"},
              {"2.4-c", "2.4", "an error carries as much of the packet as fits 1280 bytes"},
              {"2.4-e1", "2.4", "no error about an ICMPv6 error"},
              {"2.4-e3", "2.4", "no error about a packet to a multicast address",
               "but for the option that asks for one"},
              {"2.4-e6", "2.4", "no error about a packet from an address that is not one node's"},
              {"2.4-f", "2.4", "errors are limited in rate"},
              {"2.3-1", "2.3", "a bad checksum drops the message"},
              {"2.4-d", "2.4", "errors received are passed to the upper layer"},
          }};
}

Document Rfc4821() {
  return {"RFC 4821",
          "Packetization Layer Path MTU Discovery",
          {
              {"5.2-1", "5.2", "what is found is shared by those who send to the destination",
               "with connections that open later"},
              {"7.2-1", "7.2", "over IPv6 a search starts from packets of 1280 bytes"},
              {"7.4-1", "7.4", "a probe waits for text and a window for the segments behind it"},
              {"7.4-2", "7.4", "one probe is in flight at a time"},
              {"7.6.1-1", "7.6.1", "a probe that is acknowledged raises the size of segments"},
              {"7.6.2-1", "7.6.2", "a probe that is lost alone is no sign of congestion"},
              {"7.6.2-2", "7.6.2", "... and the sizes from its own on are not tried next"},
              {"7.6.2-3", "7.6.2", "a Packet Too Big about a probe bounds the search"},
              {"7.6.4-1", "7.6.4", "a probe that is lost with others says nothing of its size"},
              {"7.7-1", "7.7", "full segments that time out in a row go back to the first size",
               "five in a row"},
          }};
}

}  // namespace

const std::vector<Document>& Documents() {
  static const std::vector<Document> documents = {
      Rfc9293(), Rfc9293States(), Rfc5961(), Rfc6298(), Rfc5681(), Rfc6582(), Rfc7323(), Rfc2018(),
      Rfc2883(), Rfc6675(),       Rfc8985(), Rfc3168(), Rfc8200(), Rfc4443(), Rfc4821()};
  return documents;
}

}  // namespace qpip::conformance
