// Assertions: documentation that runs. What must hold at entry and exit of a handler whatever the
// host and the wire do; never a check of input, which is refused by name.
//
// On in builds without NDEBUG on hosts (the presets dev, tsan and fuzz), gone elsewhere: the bare
// core and the release build pay nothing.
#pragma once

#ifndef QPIP_ASSERTIONS
#if !defined(NDEBUG) && __STDC_HOSTED__
#define QPIP_ASSERTIONS 1
#else
#define QPIP_ASSERTIONS 0
#endif
#endif

#if QPIP_ASSERTIONS
namespace qpip {
/// Says what did not hold, and where, and aborts.
[[noreturn]] void AssertionFailed(const char* condition, const char* file, int line);
}  // namespace qpip
#define QPIP_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::qpip::AssertionFailed(#condition, __FILE__, __LINE__))
#else
// Not evaluated, but what it names counts as used.
#define QPIP_ASSERT(condition) static_cast<void>(sizeof((condition) ? 1 : 0))
#endif
