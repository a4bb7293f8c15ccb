// From exceptions to what C functions answer.
#pragma once

#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>

#include "qpip/types.h"

namespace qpip::verbs {

/// What `function` returns, a pointer; nullptr and errno where it throws. `who`: prints the message
/// on standard error, after that name; nullptr: nobody is told.
template <typename Function>
auto Pointer(const char* who, Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const Error& error) {
    if (who != nullptr) std::fprintf(stderr, "%s (QPIP): %s\n", who, error.what());
    errno = error.code() != 0 ? error.code() : EIO;
  } catch (const std::system_error& error) {
    if (who != nullptr) std::fprintf(stderr, "%s (QPIP): %s\n", who, error.what());
    errno = error.code().value();
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
  return nullptr;
}

/// What `function` returns, 0 or an errno value; that of the exception where it throws.
template <typename Function>
int Number(Function function) {
  try {
    return function();
  } catch (const Error& error) {
    return error.code() != 0 ? error.code() : EIO;
  } catch (const std::system_error& error) {
    return error.code().value();
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

}  // namespace qpip::verbs
