// The onetimekey service: one number for each connection, never the same twice.
//
// After the factory example of Twisted's documentation: whoever connects gets one number and a newline, and the
// connection ends. What a client sends is not looked at.
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind onetimekey_kind();

}  // namespace tap::services
