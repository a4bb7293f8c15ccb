#include "sim/ns3/paper/published.h"

#include <limits>
#include <stdexcept>

namespace qpip::sim::paper {
namespace {

using fw::Stage;

constexpr StageRow kTable2[] = {
    {"Doorbell Process", Stage::kTxDoorbellProcess, 1, 1},
    {"Schedule", Stage::kTxSchedule, 2, 2},
    {"Get WR", Stage::kTxGetWr, 5.5, std::nullopt},
    {"Get Data", Stage::kTxGetData, 4.5, std::nullopt},
    {"Build TCP Hdr", Stage::kTxBuildTransportHeader, 5, 5},
    {"Build IP Hdr", Stage::kTxBuildIpHeader, 1, 1},
    {"Send", Stage::kTxSend, 1, 1},
    {"Update", Stage::kTxUpdate, 1.5, 1.5},
};

constexpr StageRow kTable3[] = {
    {"Doorbell Process", Stage::kRxDoorbellProcess, 1, 1},
    {"Media Rcv", Stage::kRxMediaReceive, 1, 1},
    {"IP Parse", Stage::kRxIpParse, 1.5, 1.5},
    {"TCP Parse", Stage::kRxTransportParse, 7, 14},
    {"Get WR", Stage::kRxGetWr, 5.5, std::nullopt},
    {"Put Data", Stage::kRxPutData, 4.5, std::nullopt},
    {"Update", Stage::kRxUpdate, 1.5, 9},
};

constexpr const char* kText = "section 4.2.1";

constexpr Figure kFigures[] = {
    {"rtt_udp", "UDP round trip, 1 byte, firmware checksum", "us", 73, "Figure 3, section 4.2.1"},
    {"rtt_tcp", "TCP round trip, 1 byte, firmware checksum", "us", 113, "Figure 3, section 4.2.1"},
    {"ttcp_native", "ttcp, MTU for 16 KiB", "MB/s", 75.6, "Figure 4, section 4.2.1"},
    {"ttcp_9000", "ttcp, MTU 9000", "MB/s", 70.1, "Figure 4, section 4.2.1"},
    {"ttcp_1500", "ttcp, MTU 1500", "MB/s", 35.4, "Figure 4, section 4.2.1"},
    {"ttcp_firmware_checksum", "ttcp, MTU for 16 KiB, firmware checksum", "MB/s", 26.4, kText},
};

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

constexpr Relation kRelations[] = {
    {"qpip_host_utilisation", "QPIP host processor in ttcp", 0, 0.01, Scored::kBound,
     "<1% CPU utilization", kText},
    {"host_based_utilisation", "host-based stacks' processor in ttcp", 0.5, 0.75, Scored::kRange,
     "the other inter-network implementations consume half to 3/4 of a host processor", kText},
    {"qpip_1500_against_gige", "QPIP over Gigabit Ethernet, both MTU 1500", 0.78, 0.78,
     Scored::kNumber, "performs 22% less than the gigabit Ethernet in the 1500 Byte MTU case",
     kText},
    {"qpip_9000_against_gm", "QPIP over IP over Myrinet, both MTU 9000", 1, kUnbounded,
     Scored::kBound, "for the 9000 Byte MTU, QPIP outperforms the IP over Myrinet case", kText},
    {"qpip_native_against_best", "QPIP at its native MTU over the better host-based one", 1,
     kUnbounded, Scored::kBound,
     "for the native MTU case the QPIP prototype outperforms the other implementations", kText},
    {"nbd_throughput_gain", "NBD over QPIP over NBD over sockets, throughput", 1.40, 2.37,
     Scored::kEnds, "a 40% to 137% throughput performance improvement", "Figure 7, section 4.2.3"},
    {"nbd_effectiveness_gain", "NBD over QPIP over NBD over sockets, MB a CPU second", 1, 2.33,
     Scored::kLargest, "at up to 133% better CPU effectiveness", "Figure 7, section 4.2.3"},
    {"nbd_utilisation", "NBD client's processor", 0.26, kUnbounded, Scored::kBound,
     "the raw CPU utilization during the benchmark is at least 26% for filesystem processing",
     "Figure 7, section 4.2.3"},
};

template <typename Row>
const Row& Find(std::span<const Row> rows, std::string_view key) {
  for (const Row& row : rows) {
    if (row.key == key) return row;
  }
  throw std::out_of_range("the paper has no \"" + std::string(key) + "\"");
}

}  // namespace

std::span<const StageRow> Table2() { return kTable2; }
std::span<const StageRow> Table3() { return kTable3; }
std::span<const Figure> Figures() { return kFigures; }
std::span<const Relation> Relations() { return kRelations; }
const Figure& FindFigure(std::string_view key) { return Find(Figures(), key); }
const Relation& FindRelation(std::string_view key) { return Find(Relations(), key); }

}  // namespace qpip::sim::paper
