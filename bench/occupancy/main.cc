// occupancy: where the firmware's cycles go on this machine, beside the paper's Tables 2 and 3.
//
// Two NICs of this process on a mem: fabric, both run by this one thread, exchange messages of one
// segment each. Nothing else runs, so a stage's time is the code's own, not a hand-over between
// cores. The medians come from the NICs' statistics (?occupancy=1).
#include <unistd.h>

#include <array>
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "qpip/qpip.h"

namespace {

namespace po = boost::program_options;
using nlohmann::json;
using namespace qpip;

constexpr double kPaperCyclesPerUs = 133;  // LANai 9
constexpr uint32_t kReceives = 16;

/// A row of the paper's tables; microseconds, negative where the table has none.
struct PaperRow {
  const char* stage;  ///< as in the NIC's statistics
  const char* label;
  double data_us;
  double ack_us;
};
constexpr PaperRow kTable2[] = {
    {"tx doorbell process", "doorbell process", 1, 1},
    {"tx schedule", "schedule", 2, 2},
    {"tx get wr", "get WR", 5.5, -1},
    {"tx get data", "get data", 4.5, -1},
    {"tx build tcp/udp hdr", "build TCP header", 5, 5},
    {"tx build ip hdr", "build IP header", 1, 1},
    {"tx send", "send", 1, 1},
    {"tx update", "update", 1.5, 1.5},
};
constexpr PaperRow kTable3[] = {
    {"rx doorbell process", "doorbell process", 1, 1},
    {"rx media rcv", "media receive", 1, 1},
    {"rx ip parse", "IP parse", 1.5, 1.5},
    {"rx tcp/udp parse", "TCP parse", 7, 14},
    {"rx get wr", "get WR", 5.5, -1},
    {"rx put data", "put data", 4.5, -1},
    {"rx update", "update", 1.5, 9},
};

void Check(int error, const char* what) {
  if (error != 0) throw Error(error, std::string(what) + ": error " + std::to_string(error));
}

/// One NIC and its end of the connection.
class Node {
 public:
  Node(const std::string& fabric, const char* address, uint32_t bytes)
      : nic_(Nic::Open("mem:" + fabric + "?occupancy=1&address=" + address)),
        pd_(nic_->AllocatePd()),
        memory_(pd_->Allocate(size_t{bytes} * kReceives)),
        cq_(nic_->CreateCq(256)),
        qp_(nic_->CreateQp(*pd_, {.send_cq = cq_.get(), .recv_cq = cq_.get()})),
        bytes_(bytes) {}

  QueuePair& qp() { return *qp_; }
  Nic& nic() { return *nic_; }

  void PostReceives() {
    for (uint32_t i = 0; i < kReceives; ++i) PostReceive(i);
  }
  void Send() {
    Check(qp_->PostSend(0, memory_->Sge(0, bytes_), IBV_SEND_SIGNALED), "post a send");
  }
  /// Runs the core once; how many sends and receives completed. Receives are posted again.
  struct Progress {
    uint32_t sent = 0;
    uint32_t received = 0;
  };
  Progress Poll() {
    Progress progress;
    std::array<WorkCompletion, 16> done;
    const size_t count = cq_->Poll(done);
    for (size_t i = 0; i < count; ++i) {
      if (done[i].status != IBV_WC_SUCCESS) throw Error(EIO, ToString(done[i].status));
      if (done[i].opcode == IBV_WC_RECV) {
        ++progress.received;
        PostReceive(done[i].wr_id);
      } else {
        ++progress.sent;
      }
    }
    return progress;
  }

 private:
  void PostReceive(uint64_t slot) {
    Check(qp_->PostRecv(slot, memory_->Sge(slot * bytes_, bytes_)), "post a receive");
  }

  std::shared_ptr<Nic> nic_;
  std::unique_ptr<ProtectionDomain> pd_;
  std::unique_ptr<MemoryRegion> memory_;
  std::unique_ptr<CompletionQueue> cq_;
  std::unique_ptr<QueuePair> qp_;
  uint32_t bytes_;
};

/// Sends `messages`, each acknowledged before the next: one data and one ACK segment a message.
/// Answers the statistics of sender and receiver.
std::array<json, 2> RunWorkload(uint32_t messages, uint32_t bytes) {
  const std::string fabric = "occupancy-" + std::to_string(getpid());
  Node sender(fabric, "fd00::1", bytes);
  Node receiver(fabric, "fd00::2", bytes);
  receiver.PostReceives();
  const auto listener = receiver.nic().Listen(5001);
  listener->Offer(receiver.qp());
  sender.qp().Connect({receiver.nic().address(), 5001}, std::chrono::seconds(10));
  if (listener->Accept(std::chrono::seconds(10)) == nullptr) throw Error(ETIMEDOUT, "not accepted");
  for (uint32_t i = 0; i < messages; ++i) {
    sender.Send();
    bool sent = false;
    bool received = false;
    while (!sent || !received) {
      sent |= sender.Poll().sent > 0;
      received |= receiver.Poll().received > 0;
    }
  }
  return {json::parse(sender.nic().StatisticsJson()), json::parse(receiver.nic().StatisticsJson())};
}

/// Median cycles of a stage and variant, and how often it ran; the NIC that ran it more often
/// tells.
struct Measured {
  uint64_t count = 0;
  double cycles = 0;
};
Measured Find(const std::array<json, 2>& statistics, const char* stage, const char* variant) {
  Measured found;
  for (const json& nic : statistics) {
    for (const json& row : nic.at("port").at("occupancy")) {
      const auto count = row.at("count").get<uint64_t>();
      if (row.at("stage") == stage && row.at("variant") == variant && count > found.count) {
        found = {count, row.at("cycles").at("p50").get<double>()};
      }
    }
  }
  return found;
}

json TableJson(const std::array<json, 2>& statistics, std::span<const PaperRow> table) {
  json rows = json::array();
  for (const PaperRow& row : table) {
    json out = {{"stage", row.label}};
    for (const char* variant : {"data", "ack"}) {
      const double paper = variant[0] == 'd' ? row.data_us : row.ack_us;
      const Measured here = Find(statistics, row.stage, variant);
      out[variant] = {{"paper_us", paper < 0 ? json() : json(paper)},
                      {"cycles", here.count == 0 ? json() : json(here.cycles)},
                      {"count", here.count}};
    }
    rows.push_back(out);
  }
  return rows;
}

json Measure(uint32_t messages, uint32_t bytes) {
  const auto statistics = RunWorkload(messages, bytes);
  return {{"messages", messages},
          {"bytes", bytes},
          {"cycles_per_us", statistics[0].at("port").at("cycles_per_us")},
          {"paper_cycles_per_us", kPaperCyclesPerUs},
          {"transmit", TableJson(statistics, kTable2)},
          {"receive", TableJson(statistics, kTable3)}};
}

std::string Cell(const json& value, double scale, const char* format) {
  if (value.is_null()) return "-";
  char text[32];
  snprintf(text, sizeof(text), format, value.get<double>() * scale);
  return text;
}

void PrintTable(const char* title, const json& rows, double cycles_per_us) {
  printf("%-20s  %19s   %19s   %15s\n", title, "paper's LANai, µs", "paper's, cycles",
         "here, ns (cycles)");
  printf("%-20s  %9s %8s   %9s %8s   %12s %12s\n", "", "data", "ack", "data", "ack", "data", "ack");
  std::array<double, 2> paper_sum = {};
  std::array<double, 2> cycle_sum = {};
  const auto here = [&](double cycles) {
    char text[32];
    snprintf(text, sizeof(text), "%.0f (%.0f)", cycles / cycles_per_us * 1000, cycles);
    return std::string(text);
  };
  for (const json& row : rows) {
    std::array<std::string, 2> cells;
    const std::array<const char*, 2> variants = {"data", "ack"};
    for (size_t i = 0; i < 2; ++i) {
      const json& cell = row.at(variants[i]);
      if (!cell.at("paper_us").is_null()) paper_sum[i] += cell.at("paper_us").get<double>();
      if (!cell.at("cycles").is_null()) cycle_sum[i] += cell.at("cycles").get<double>();
      cells[i] = cell.at("cycles").is_null() ? "-" : here(cell.at("cycles").get<double>());
    }
    const json& data = row.at("data").at("paper_us");
    const json& ack = row.at("ack").at("paper_us");
    printf("  %-18s  %9s %8s   %9s %8s   %12s %12s\n", row.at("stage").get<std::string>().c_str(),
           Cell(data, 1, "%.1f").c_str(), Cell(ack, 1, "%.1f").c_str(),
           Cell(data, kPaperCyclesPerUs, "%.0f").c_str(),
           Cell(ack, kPaperCyclesPerUs, "%.0f").c_str(), cells[0].c_str(), cells[1].c_str());
  }
  printf("  %-18s  %9.1f %8.1f   %9.0f %8.0f   %12s %12s\n", "sum", paper_sum[0], paper_sum[1],
         paper_sum[0] * kPaperCyclesPerUs, paper_sum[1] * kPaperCyclesPerUs,
         here(cycle_sum[0]).c_str(), here(cycle_sum[1]).c_str());
}

int Main(int argc, char** argv) {
  uint32_t messages = 0;
  uint32_t bytes = 0;
  bool as_json = false;
  po::options_description options("Options");
  options.add_options()("help", "show this text and stop")("json", po::bool_switch(&as_json),
                                                           "print the tables as JSON")(
      "messages", po::value(&messages)->default_value(20000), "messages sent, at least 1")(
      "bytes", po::value(&bytes)->default_value(16384), "of a message, 1 to 32768: one segment");
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(options).positional({}).run(), values);
    po::notify(values);
    if (values.count("help") != 0) {
      std::cout
          << "Usage: qpip-occupancy [options]\n\nCycles of each firmware stage on this machine "
             "beside the paper's Tables 2 and 3.\n\n"
          << options;
      return 0;
    }
    if (messages < 1 || bytes < 1 || bytes > 32768)
      throw po::error("--messages or --bytes out of range");
  } catch (const po::error& error) {
    fprintf(stderr, "qpip-occupancy: %s (see --help)\n", error.what());
    return 2;
  }
  try {
    const json result = Measure(messages, bytes);
    if (as_json) {
      std::cout << result.dump(2) << "\n";
    } else {
      const auto cycles_per_us = result.at("cycles_per_us").get<double>();
      PrintTable("Transmit (Table 2)", result.at("transmit"), cycles_per_us);
      PrintTable("Receive (Table 3)", result.at("receive"), cycles_per_us);
    }
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "qpip-occupancy: %s\n", error.what());
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) { return Main(argc, argv); }
