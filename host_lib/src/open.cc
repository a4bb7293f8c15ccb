// Nic::Open, apart from the rest of Nic so that a program with a port of its own (the tests' fake
// NIC) does not pull in the real ones.
#include <system_error>

#include "nic_impl.h"

namespace qpip {

std::shared_ptr<Nic> Nic::Open(std::string_view uri) {
  const std::string what = "open " + std::string(uri) + ": ";
  try {
    return internal::NicImpl::Start(abi::OpenHostPort(uri));
  } catch (const std::invalid_argument&) {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::system_error& error) {
    throw Error(error.code().value(), what + error.what());
  } catch (const std::runtime_error& error) {
    throw Error(EIO, what + error.what());
  }
}

}  // namespace qpip
