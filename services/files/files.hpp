// The kind `files`: the files under a directory, by lines and by HTTP.
//
// Tests: tests/services/files/*, tests/end_to_end/files_test.cpp
#pragma once

#include "services/kind.hpp"

namespace tap::services {

[[nodiscard]] Kind files_kind();

}  // namespace tap::services
