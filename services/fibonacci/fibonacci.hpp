// The fibonacci service: one sequence for all clients, each number given once.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind fibonacci_kind();

}  // namespace tap::services
