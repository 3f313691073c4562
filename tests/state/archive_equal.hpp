// equal(): two archives member by member, for tests and fuzz targets. (The product compares digests.)
#pragma once

#include <tuple>

#include "state/archive.hpp"

namespace tap::tests {

[[nodiscard]] inline bool equal(const state::Archive& a, const state::Archive& b) {
  const auto members = [](const state::Archive& x) {
    return std::tie(x.compatible_features, x.read_only_features, x.incompatible_features, x.lineage, x.generation,
                    x.base_lsn, x.epoch, x.parent, x.parent_generation, x.parent_digest, x.created_ms, x.writer,
                    x.ancestors, x.definition, x.sections, x.pending);
  };
  return members(a) == members(b);
}

}  // namespace tap::tests
