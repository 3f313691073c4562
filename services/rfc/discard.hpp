// The discard service: takes everything, answers nothing (RFC 863, TCP and UDP).
//
// Tests: tests/services/rfc/echo_discard_test.cpp
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind discard_kind();

}  // namespace tap::services
