#include "state/definition.hpp"

#include <algorithm>

#include "state/definition_serialize.hpp"

namespace tap::state {

const ServiceDefinition* Definition::find(std::string_view service) const {
  const auto found = std::find_if(services.begin(), services.end(),
                                  [&](const ServiceDefinition& candidate) { return candidate.name == service; });
  return found == services.end() ? nullptr : &*found;
}

std::uint32_t definition_schema(const Definition& definition) {
  const bool limits = std::any_of(definition.services.begin(), definition.services.end(),
                                  [](const ServiceDefinition& service) { return !service.limits.empty(); });
  return limits || !definition.limits.empty() ? 2 : 1;
}

Bytes encode_definition(const Definition& definition) {
  Result<Bytes> payload = with_schema(definition, [](const auto& schema) { return encode(schema); });
  TAP_ASSERT(payload.ok());  // strings, numbers and containers of them: nothing here can refuse
  return std::move(payload).value();
}

Result<Definition> decode_definition(ByteView payload, std::uint32_t schema_version) {
  if (schema_version > Definition::kSchemaVersion) {
    return Error{Fault::config, "the definition has schema version " + std::to_string(schema_version) +
                                    ", this program knows versions up to " +
                                    std::to_string(Definition::kSchemaVersion)};
  }
  NewestDefinition definition;
  if (Result<void> decoded = decode(payload, definition); !decoded) {
    return std::move(decoded.error()).with("the application's definition");
  }
  return std::move(definition.value);
}

bool is_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace tap::state
