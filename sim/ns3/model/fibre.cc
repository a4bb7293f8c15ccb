#include "sim/ns3/model/fibre.h"

#include <ns3/event-id.h>
#include <ns3/simulator.h>

#include <cxxabi.h>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstring>
#include <exception>
#include <list>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sim/ns3/model/virtual_time.h"

#ifdef QPIP_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace qpip::sim {
namespace {

constexpr size_t kStackBytes = 256 * 1024;  // address space; pages are mapped when touched

/// Unwinds a fibre's stack when it is destroyed before its program has ended.
struct Unwind {};

Context* current = nullptr;

/// Runs the simulator on the caller's own stack until somebody calls Stop.
class Driver {
 public:
  void Drive() {
    stopped_ = false;
    Context* const self = std::exchange(current, nullptr);
    while (!stopped_) {
      ns3::Simulator::Run();
      if (!stopped_ && ns3::Simulator::IsFinished()) break;
    }
    current = self;
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if (!stopped_) {
      throw std::runtime_error(
          "the simulation was stopped, or has run out of events, while the program waits: nothing "
          "can wake it");
    }
  }
  void Stop() {
    stopped_ = true;
    ns3::Simulator::Stop();
  }
  void Fail(std::exception_ptr error) {
    error_ = std::move(error);
    Stop();
  }

 private:
  bool stopped_ = false;
  std::exception_ptr error_;
};

using GuardedStack = boost::context::protected_fixedsize_stack;

class StackAllocator : public GuardedStack {
 public:
  using GuardedStack::GuardedStack;
#ifdef QPIP_ADDRESS_SANITIZER
  void deallocate(boost::context::stack_context& stack) {
    // The outermost frames are never returned from, so their red zones are still marked.
    ASAN_UNPOISON_MEMORY_REGION(static_cast<char*>(stack.sp) - stack.size, stack.size);
    GuardedStack::deallocate(stack);
  }
#endif
};

class Root : public Context {
 public:
  void Suspend() override { driver_.Drive(); }
  void Resume() override { driver_.Stop(); }
  void Fail(std::exception_ptr error) { driver_.Fail(std::move(error)); }
  void Join() override { throw std::logic_error("the simulation's own thread cannot be joined"); }
  bool done() const override { return false; }

 private:
  Driver driver_;
};

/// The C++ runtime's record of exceptions being handled is a thread's; each stack needs its own, as
/// a fibre may be suspended inside a catch block.
class ExceptionState {
 public:
  void Save() { std::memcpy(bytes_, __cxxabiv1::__cxa_get_globals(), sizeof(bytes_)); }
  void Restore() const { std::memcpy(__cxxabiv1::__cxa_get_globals(), bytes_, sizeof(bytes_)); }

 private:
  // Itanium C++ ABI, 2.2.2: a pointer and a count.
  alignas(void*) unsigned char bytes_[2 * sizeof(void*)] = {};
};

Root& TheRoot() {
  static Root root;
  return root;
}

}  // namespace

class Fibre : public Context, public std::enable_shared_from_this<Fibre> {
 public:
  Fibre(std::string name, std::function<void()> program)
      : name_(std::move(name)), program_(std::move(program)) {}

  /// `on_done` is called outside of the fibre once it has ended.
  void Start(std::function<void()> on_done) {
    on_done_ = std::move(on_done);
    StackAllocator allocator(kStackBytes);
    const boost::context::stack_context stack = allocator.allocate();
    NoteStack(static_cast<const char*>(stack.sp) - stack.size, stack.size);
    fiber_ = boost::context::fiber(std::allocator_arg,
                                   boost::context::preallocated(stack.sp, stack.size, stack),
                                   allocator, [this](boost::context::fiber&& from) {
                                     EnterFirst();
                                     return Main(std::move(from));
                                   });
    Resume();
  }

  void Suspend() override {
    if (unwinding_) {
      // A destructor waits, such as a queue pair's for its NIC: the simulation goes on meanwhile.
      driver_.Drive();
      return;
    }
    exceptions_.Save();
    LeaveTo();
    caller_ = std::move(caller_).resume();
    EnterAgain();
    exceptions_.Restore();
    current = this;
    if (unwinding_) throw Unwind{};
  }

  void Resume() override {
    if (unwinding_) {
      driver_.Stop();
      return;
    }
    if (pending_ || done_) return;
    pending_ = true;
    auto self = shared_from_this();
    event_ = ns3::Simulator::ScheduleNow([self] {
      self->pending_ = false;
      self->event_ = {};  // which holds this, which holds the fibre
      self->Run();
    });
  }

  void Join() override {
    while (!done_) {
      joiners_.push_back(&Context::Current());
      Context::Current().Suspend();
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }
  bool done() const override { return done_; }

  /// Unwinds the stack. Destructors on it may block.
  void Destroy() {
    if (pending_) ns3::Simulator::Cancel(event_);
    pending_ = false;
    event_ = {};
    if (done_) return;
    unwinding_ = true;
    Run();
  }

 private:
  boost::context::fiber Main(boost::context::fiber&& from) {
    caller_ = std::move(from);
    current = this;
    exceptions_.Restore();  // none
    if (!unwinding_) {
      try {
        program_();
      } catch (const Unwind&) {
        error_ = nullptr;  // the stack has been left, nothing has failed
      } catch (...) {
        error_ = std::current_exception();
      }
    }
    done_ = true;
    program_ = nullptr;
    for (Context* joiner : joiners_) {
      if (!unwinding_) joiner->Resume();
    }
    joiners_.clear();
    LeaveForGood();
    return std::move(caller_);
  }

  void Run() {
    if (done_) return;
    Context* before = current;
    ExceptionState exceptions;
    exceptions.Save();
#ifdef QPIP_ADDRESS_SANITIZER
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_bottom_, stack_size_);
#endif
    fiber_ = std::move(fiber_).resume();
#ifdef QPIP_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    exceptions.Restore();
    current = before;
    if (done_) std::exchange(on_done_, nullptr)();
  }

#ifdef QPIP_ADDRESS_SANITIZER
  // AddressSanitizer is told about every change of stacks.
  void NoteStack(const void* bottom, size_t size) {
    stack_bottom_ = bottom;
    stack_size_ = size;
  }
  void EnterFirst() { __sanitizer_finish_switch_fiber(nullptr, &caller_bottom_, &caller_size_); }
  void LeaveTo() { __sanitizer_start_switch_fiber(&fake_, caller_bottom_, caller_size_); }
  void EnterAgain() { __sanitizer_finish_switch_fiber(fake_, &caller_bottom_, &caller_size_); }
  // Not nullptr, which would free the fake stack that the frames still to be left may lie on (when
  // ASAN_OPTIONS has detect_stack_use_after_return=1): it is given up instead.
  void LeaveForGood() { __sanitizer_start_switch_fiber(&fake_, caller_bottom_, caller_size_); }
  const void* caller_bottom_ = nullptr;
  size_t caller_size_ = 0;
  const void* stack_bottom_ = nullptr;
  size_t stack_size_ = 0;
  void* fake_ = nullptr;
#else
  void NoteStack(const void*, size_t) {}
  void EnterFirst() {}
  void LeaveTo() {}
  void EnterAgain() {}
  void LeaveForGood() {}
#endif

  const std::string name_;
  std::function<void()> program_;
  boost::context::fiber fiber_;
  boost::context::fiber caller_;
  std::vector<Context*> joiners_;
  std::function<void()> on_done_;
  std::exception_ptr error_;
  ns3::EventId event_;
  ExceptionState exceptions_;
  Driver driver_;  ///< while unwinding
  bool pending_ = false;
  bool done_ = false;
  bool unwinding_ = false;
};

namespace {

/// Those that have not ended.
std::list<std::shared_ptr<Fibre>>& LiveFibres() {
  static std::list<std::shared_ptr<Fibre>> live;
  return live;
}

}  // namespace

Context& Context::Current() { return current == nullptr ? TheRoot() : *current; }

std::shared_ptr<Context> Context::Spawn(std::string name, std::function<void()> program) {
  // Simulator::Destroy ends the programs too. Nodes, which are there before, are disposed of first.
  static ns3::EventId at_the_end;
  if (at_the_end.IsExpired()) at_the_end = ns3::Simulator::ScheduleDestroy(&Context::DestroyAll);
  auto fibre = std::make_shared<Fibre>(std::move(name), std::move(program));
  LiveFibres().push_back(fibre);
  const auto place = std::prev(LiveFibres().end());
  fibre->Start([place] { LiveFibres().erase(place); });
  return fibre;
}

void Context::Fail(std::exception_ptr error) { TheRoot().Fail(std::move(error)); }

void Context::DestroyAll() {
  // The end of one may end others.
  while (!LiveFibres().empty()) {
    const std::shared_ptr<Fibre> fibre = LiveFibres().back();
    fibre->Destroy();
  }
}

void Context::SleepNs(uint64_t duration_ns) {
  struct Timer {
    bool& sleeps;
    ns3::EventId event;
    ~Timer() {  // the fibre may be unwound
      ns3::Simulator::Cancel(event);
      sleeps = false;
    }
  };
  const Timer timer{sleeps, ScheduleAt(NowNs() + duration_ns, [this] { Resume(); })};
  sleeps = true;
  Suspend();
}

}  // namespace qpip::sim
