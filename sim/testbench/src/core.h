// What all objects of one bench share: the hardware, the NIC as the host library sees it, and whom
// completions are for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hardware.h"
#include "qpip/qpip.h"
#include "qpip/testbench/bench.h"

namespace qpip::testbench {

/// Polled for completions whenever the NIC has come to rest.
class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual bool Poll() = 0;  ///< Returns whether there was anything.
};

class Core {
 public:
  explicit Core(const TestBenchOptions& options);

  /// Runs the NIC and takes completions in turns until neither has anything left.
  void Settle();
  void Register(Pollable* pollable) { pollables_.push_back(pollable); }
  void Unregister(Pollable* pollable) { std::erase(pollables_, pollable); }

  Hardware& hardware() { return hardware_; }
  qpip::Nic& nic() { return *nic_; }
  qpip::ProtectionDomain& pd() { return *pd_; }

 private:
  Hardware hardware_;
  std::shared_ptr<qpip::Nic> nic_;
  std::unique_ptr<qpip::ProtectionDomain> pd_;
  std::vector<Pollable*> pollables_;
};

/// The firmware's profile, or std::invalid_argument.
fw::NicConfig MakeConfig(const TestBenchOptions& options);

/// The host's side of `hardware`, which must outlive it.
std::unique_ptr<abi::HostPort> MakeHostPort(Hardware& hardware, std::string description);

}  // namespace qpip::testbench
