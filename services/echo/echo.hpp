// The echo service: sends back what it receives (RFC 862, TCP and UDP).
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind echo_kind();

}  // namespace tap::services
