// Nic::Open, apart from the rest of Nic so that a program with a port of its own (the tests' fake
// NIC) does not pull in the real ones.
#include <system_error>

#include "nic_impl.h"

namespace qpip {

namespace {

// The URI as a message has it: what is no printable ASCII percent-encoded (RFC 3986 2.1).
std::string Printable(std::string_view uri) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : uri) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7f) {
      text += c;
    } else {
      text += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text;
}

}  // namespace

std::shared_ptr<Nic> Nic::Open(std::string_view uri) {
  const std::string what = "open " + Printable(uri) + ": ";
  try {
    return internal::NicImpl::Start(abi::OpenHostPort(uri));
  } catch (const std::invalid_argument& error) {
    throw ParseError(error.what());
  } catch (const Error&) {
    throw;
  } catch (const std::system_error& error) {
    throw Error(error.code().value(), what + error.what());
  } catch (const std::runtime_error& error) {
    throw Error(EIO, what + error.what());
  }
}

void Nic::WatchForks() { abi::WatchForks(); }

}  // namespace qpip
