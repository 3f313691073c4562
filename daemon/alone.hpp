// --no-keeper: keeper's and worker's work in one process, for a debugger or a benchmark.
#pragma once

#include "daemon/instance.hpp"
#include "daemon/launch.hpp"

namespace tap::daemon {

/// Serves until a signal ends it. The exit code.
[[nodiscard]] int run_alone(Instance& instance, LaunchReport& report, const services::Registry& kinds);

}  // namespace tap::daemon
