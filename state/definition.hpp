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

/// What was asked beyond the limits that have members of their own, by the config's names: milliseconds, bytes or
/// counts. services/limits.hpp knows the names, and refuses others; so a new name needs no new schema.
using Limits = std::map<std::string, std::uint64_t>;

/// One service: its key, its kind, where it listens and what was asked of it.
struct ServiceDefinition {
  std::string name;                 ///< unique in the application; the key of its state
  std::string kind;                 ///< "fibonacci"
  std::vector<std::string> listen;  ///< endpoint strings, as written by the user
  std::string durability;           ///< empty: as the application says
  std::uint64_t connections_max = kDefaultConnectionsMax;
  std::uint64_t idle_timeout_ms = 0;           ///< 0: none
  std::map<std::string, std::string> options;  ///< the kind's own, only those that were given, in canonical text
  Limits limits = {};

  bool operator==(const ServiceDefinition&) const = default;
};

struct Definition {
  /// The newest that this program reads. It writes the oldest that can say it all: definition_schema().
  static constexpr std::uint32_t kSchemaVersion = 2;

  std::string name;  ///< of the application: names its store and its archives
  std::string durability = "strict";
  std::uint64_t stop_timeout_ms = kDefaultStopTimeoutMs;
  std::vector<ServiceDefinition> services;
  Limits limits = {};  ///< those of the whole application

  bool operator==(const Definition&) const = default;
  [[nodiscard]] const ServiceDefinition* find(std::string_view service) const;
};

/// The schema that encode_definition() writes: 2 where a limit needs it, else 1, which older programs read too.
[[nodiscard]] std::uint32_t definition_schema(const Definition& definition);
[[nodiscard]] Bytes encode_definition(const Definition& definition);
/// Errors: damaged; config when the schema is newer than this program.
[[nodiscard]] Result<Definition> decode_definition(ByteView payload, std::uint32_t schema_version);

/// Whether `name` may name an application or a service: letters, digits, '.', '_' and '-', not beginning with '.' or
/// '-', at most 64. It becomes part of file names and log lines.
[[nodiscard]] bool is_name(std::string_view name);

}  // namespace tap::state
