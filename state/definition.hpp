// Definition: what an application is made of. A plain value: a config describes one, an archive carries one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"

namespace tap::state {

inline constexpr std::uint64_t kDefaultStopTimeoutMs = 10'000;
inline constexpr std::uint64_t kDefaultConnectionsMax = 10'000;

/// One service: its key, its kind, where it listens and what was asked of it.
struct ServiceDefinition {
  static constexpr std::uint32_t kSchemaVersion = 1;

  std::string name;                 ///< unique in the application; the key of its state
  std::string kind;                 ///< "fibonacci"
  std::vector<std::string> listen;  ///< endpoint strings, as written by the user
  std::string durability;           ///< empty: as the application says
  std::uint64_t connections_max = kDefaultConnectionsMax;
  std::uint64_t idle_timeout_ms = 0;           ///< 0: none
  std::map<std::string, std::string> options;  ///< the kind's own, only those that were given, in canonical text

  bool operator==(const ServiceDefinition&) const = default;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

struct Definition {
  static constexpr std::uint32_t kSchemaVersion = 1;

  std::string name;  ///< of the application: names its store and its archives
  std::string durability = "strict";
  std::uint64_t stop_timeout_ms = kDefaultStopTimeoutMs;
  std::vector<ServiceDefinition> services;

  bool operator==(const Definition&) const = default;
  [[nodiscard]] const ServiceDefinition* find(std::string_view service) const;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

[[nodiscard]] Bytes encode_definition(const Definition& definition);
/// Errors: damaged; config when the schema is newer than this program.
[[nodiscard]] Result<Definition> decode_definition(ByteView payload, std::uint32_t schema_version);

/// Whether `name` may name an application or a service: letters, digits, '.', '_' and '-', not beginning with '.' or
/// '-', at most 64. It becomes part of file names and log lines.
[[nodiscard]] bool is_name(std::string_view name);

}  // namespace tap::state
