// Whatever stands in a config is an application that can be started, or a list of sentences with their places.
#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/config.hpp"
#include "services/definition_check.hpp"
#include "services/standard_kinds.hpp"
#include "state/base/assert.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tap::services::Registry kinds = tap::services::standard_kinds();
  const std::string text(reinterpret_cast<const char*>(data), size);
  // A directory that is not there: keys and certificates are looked for in it, and none is found.
  const tap::daemon::ConfigReading reading = tap::daemon::read_config(text, "t.toml", kinds, {}, "/nowhere");
  for (const tap::daemon::ConfigProblem& problem : reading.problems) {
    TAP_ASSERT(!problem.message.empty() && problem.line >= 1 && problem.column >= 1);
  }
  if (!reading.problems.empty()) return 0;
  TAP_ASSERT(!reading.definition.services.empty());
  TAP_ASSERT(tap::services::check_definition(reading.definition, kinds).ok());
  return 0;
}
