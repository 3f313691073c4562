// How cereal sees a Definition; included by the two files that need it (definition.cpp, text.cpp).
#pragma once

#include "state/codec.hpp"
#include "state/definition.hpp"

namespace tap::state {

template <class Archive>
void ServiceDefinition::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(name), CEREAL_NVP(kind), CEREAL_NVP(listen), CEREAL_NVP(durability));
  archive(cereal::make_nvp("max_connections", connections_max), CEREAL_NVP(idle_timeout_ms), CEREAL_NVP(options));
}

template <class Archive>
void Definition::serialize(Archive& archive, std::uint32_t /*version*/) {
  archive(CEREAL_NVP(name), CEREAL_NVP(durability), CEREAL_NVP(stop_timeout_ms), CEREAL_NVP(services));
}

}  // namespace tap::state
