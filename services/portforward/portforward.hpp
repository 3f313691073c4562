// The kind `portforward`: every connection is carried on to another place, byte by byte, both ways.
//
// Source: Twisted's twisted.protocols.portforward.
// Tests: tests/services/portforward_test.cpp,
// tests/end_to_end/portforward_test.cpp
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind portforward_kind();

}  // namespace tap::services
