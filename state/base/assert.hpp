// TAP_ASSERT: a check of our own reasoning, on in release builds too.
//
// A failed assertion is a bug in this program, never a fact about the world: it prints where and what, and aborts.
// Things that happen (a full disk, a torn file, a lost peer) are Result<T>, see result.hpp.
#pragma once

namespace tap {

/// Prints `file:line: assertion failed: expression` to stderr and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace tap

#define TAP_ASSERT(expression) ((expression) ? (void)0 : ::tap::assertion_failed(#expression, __FILE__, __LINE__))
