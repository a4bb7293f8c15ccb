#include "sim/ns3/helper/qpip_program.h"

#include <ns3/event-impl.h>
#include <ns3/simulator.h>

#include <exception>
#include <utility>

#include "sim/ns3/helper/qpip_helper.h"

namespace qpip::sim {
namespace {

/// Throws out of Simulator::Run.
class Throw : public ns3::EventImpl {
 public:
  // NOLINTNEXTLINE(bugprone-throw-keyword-missing): what is made is a pointer to an exception.
  explicit Throw(std::exception_ptr error) : error_(std::move(error)) {}

 private:
  void Notify() override {
    const std::exception_ptr error = error_;
    Unref();  // ns-3 would, had this returned
    std::rethrow_exception(error);
  }
  std::exception_ptr error_;
};

}  // namespace

NS_OBJECT_ENSURE_REGISTERED(QpipProgram);

ns3::TypeId QpipProgram::GetTypeId() {
  static ns3::TypeId id = ns3::TypeId("ns3::QpipProgram")
                              .SetParent<ns3::Application>()
                              .SetGroupName("Qpip")
                              .AddConstructor<QpipProgram>();
  return id;
}

QpipProgram::QpipProgram(std::string name, Function function)
    : name_(std::move(name)), function_(std::move(function)) {}

void QpipProgram::DoDispose() {
  function_ = nullptr;
  Application::DoDispose();
}

void QpipProgram::StartApplication() {
  if (!function_) return;
  // The function lives with the fibre, which may outlive the application.
  Context::Spawn(name_, [self = ns3::Ptr<QpipProgram>(this), function = function_] {
    try {
      function(*NicOf(self->GetNode()));
      self->done_ = true;
    } catch (const std::exception&) {
      ns3::Simulator::ScheduleNow(
          ns3::Ptr<ns3::EventImpl>(new Throw(std::current_exception()), false));
    }
  });
}

}  // namespace qpip::sim
