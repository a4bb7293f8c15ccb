// Fibres: blocking programs in virtual time.
//
// A program of a simulated host is ordinary blocking code (host_lib's Wait, a loop around Poll). It
// runs on a fibre; where it would block, the fibre is suspended and an event of the simulator
// resumes it. A thread that is no fibre may block too: it then runs the simulator itself until what
// it waits for has happened, so that a test's main function needs no fibre.
//
// One thread; fibres are never pre-empted. A fibre ends with its program; fibres that are left
// suspended at the end of a simulation are unwound by DestroyAll, which Simulator::Destroy calls:
// their destructors run, and may block.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace qpip::sim {

class Fibre;

/// Whoever runs: a fibre, or the thread outside of all.
class Context {
 public:
  /// The running one. Constant time.
  static Context& Current();

  /// Starts a program at the present virtual time, as an event.
  static std::shared_ptr<Context> Spawn(std::string name, std::function<void()> program);
  /// Unwinds every fibre that has not ended. Part of Simulator::Destroy; called before it, the
  /// destructors of programs still find their NICs working.
  static void DestroyAll();
  /// Whoever runs the simulator, the thread outside of all fibres, gets `error` from its Suspend.
  static void Fail(std::exception_ptr error);

  virtual ~Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Stops running until Resume. Only the current one may. Spurious returns do not happen.
  virtual void Suspend() = 0;
  /// Lets a suspended one go on, as an event at the present virtual time. Calling it twice before
  /// it runs, or for one that has ended, has no effect.
  virtual void Resume() = 0;
  /// Suspends for a while of virtual time.
  void SleepNs(uint64_t duration_ns);
  /// Blocks the current context until this one's program has ended; rethrows what ended it.
  virtual void Join() = 0;
  virtual bool done() const = 0;

  /// Host processor time spent but not yet let pass, see host_port.h.
  uint64_t debt_ps = 0;
  /// While suspended: what for, by whoever suspended it. nullptr: for a time, or not said.
  const std::string* waits_for = nullptr;
  bool sleeps = false;  ///< in SleepNs

 protected:
  Context() = default;
};

}  // namespace qpip::sim
