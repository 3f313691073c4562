// The kinds that the tests of the daemon know: those of the program, and one with an option of each type.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

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
  services::Kind strict = services::echo_kind();
  strict.name = "strict";
  strict.options = {{"root", Type::text, {}, "/srv", "what to serve", true},
                    {"names", Type::list, {}, "", "endpoints that are special"}};
  strict.check_together = [](const services::Options& options, const std::vector<std::string>& listen) {
    std::optional<services::OptionProblem> problem;
    for (const std::string& name : options.list("names")) {
      if (std::find(listen.begin(), listen.end(), name) == listen.end())
        problem = {"names", name + " is not listened on"};
    }
    return problem;
  };
  return services::Registry({services::echo_kind(), services::fibonacci_kind(), kind, strict});
}

}  // namespace tap::tests
