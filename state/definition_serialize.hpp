// How cereal sees a Definition; included by the files that need it (definition.cpp, text.cpp, the worker's plan).
#pragma once

#include "state/codec.hpp"
#include "state/definition.hpp"

namespace tap::state {

/// cereal's class versions are constants of a type, and we choose between two when we write: so a type for each. The
/// newest one reads both.
template <std::uint32_t Version>
struct ServiceSchema {
  static constexpr std::uint32_t kSchemaVersion = Version;
  ServiceDefinition value;

  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version) {
    if (version > Definition::kSchemaVersion)
      throw CodecRefusal("a service of a schema that this program does not know");
    archive(cereal::make_nvp("name", value.name), cereal::make_nvp("kind", value.kind),
            cereal::make_nvp("listen", value.listen), cereal::make_nvp("durability", value.durability));
    archive(cereal::make_nvp("max_connections", value.connections_max),
            cereal::make_nvp("idle_timeout_ms", value.idle_timeout_ms), cereal::make_nvp("options", value.options));
    if (version >= 2) archive(cereal::make_nvp("limits", value.limits));
  }
};

template <std::uint32_t Version>
struct DefinitionSchema {
  static constexpr std::uint32_t kSchemaVersion = Version;
  Definition value;

  template <class Archive>
  void save(Archive& archive, std::uint32_t version) const {
    std::vector<ServiceSchema<Version>> services;
    for (const ServiceDefinition& service : value.services) services.push_back({service});
    archive(cereal::make_nvp("name", value.name), cereal::make_nvp("durability", value.durability),
            cereal::make_nvp("stop_timeout_ms", value.stop_timeout_ms), CEREAL_NVP(services));
    if (version >= 2) archive(cereal::make_nvp("limits", value.limits));
  }
  template <class Archive>
  void load(Archive& archive, std::uint32_t version) {
    if (version > Definition::kSchemaVersion)
      throw CodecRefusal("a definition of a schema that this program does not know");
    std::vector<ServiceSchema<Version>> services;
    archive(cereal::make_nvp("name", value.name), cereal::make_nvp("durability", value.durability),
            cereal::make_nvp("stop_timeout_ms", value.stop_timeout_ms), CEREAL_NVP(services));
    if (version >= 2) archive(cereal::make_nvp("limits", value.limits));
    value.services.clear();
    for (ServiceSchema<Version>& service : services) value.services.push_back(std::move(service.value));
  }
};

using NewestDefinition = DefinitionSchema<Definition::kSchemaVersion>;

/// Calls `use` with the definition in the oldest schema that can say it all.
template <class Use>
auto with_schema(const Definition& definition, Use&& use) {
  if (definition_schema(definition) == 1) return use(DefinitionSchema<1>{definition});
  return use(NewestDefinition{definition});
}

}  // namespace tap::state
