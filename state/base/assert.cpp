#include "state/base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace tap {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "tapd: %s:%d: assertion failed: %s (a bug in tapd; please report it)\n", file, line, expression);
  std::abort();
}

}  // namespace tap
