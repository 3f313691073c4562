// The poetry-transform service: netstrings in and out, `27:cummingsify.HERE IS MY POEM,` gives `15:here is my poem,`.
//
// After the transformation server of Dave Peticolas' "Twisted Introduction", which is one request a connection; here
// there may be many, pipelined too. A netstring is a name, a full stop, and the poem; the name is one of
// transforms.hpp.
//
// Tests: tests/services/poetry/transform_test.cpp
#pragma once

#include <cstddef>

#include "services/kind.hpp"

namespace tap::services {

/// Of a request without its length: a transform's name, a full stop and the poem.
inline constexpr std::size_t kTransformBytesMax = std::size_t{1} << 20U;

[[nodiscard]] Kind poetry_transform_kind();

}  // namespace tap::services
