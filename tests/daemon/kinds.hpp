// The kinds that the tests of the daemon know: those of the program, and one with an option of each type.
#pragma once

#include <string>

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/kind.hpp"

namespace tap::tests {

inline services::Registry test_kinds() {
  using Type = services::OptionSpec::Type;
  services::Kind kind = services::echo_kind();
  kind.name = "full";
  kind.options = {
      {"greeting", Type::text, {}, "hello", "what to say"},  {"framing", Type::choice, {"none", "line"}, "none", "how"},
      {"verbose", Type::boolean, {}, "false", "whether"},    {"limit", Type::count, {}, "10", "how many"},
      {"push_every", Type::duration, {}, "5s", "how often"}, {"buffer", Type::size, {}, "64KiB", "how much"}};
  return services::Registry({services::echo_kind(), services::fibonacci_kind(), kind});
}

}  // namespace tap::tests
