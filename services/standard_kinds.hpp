// The kinds that come with tapd, for the programs that list them.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Registry standard_kinds();

}  // namespace tap::services
