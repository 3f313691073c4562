// Definition check: whether what an archive, a config or a command line describes can be run by this program.
#pragma once

#include "services/kind.hpp"
#include "services/net/endpoint.hpp"
#include "state/archive.hpp"
#include "state/definition.hpp"

namespace tap::services {

/// The longest stop timeout that is taken for meant.
inline constexpr std::uint64_t kStopTimeoutMsMax = 3'600'000;

/// Names, kinds, options, endpoints and limits. A config has been checked with more care for places before; an archive
/// may come from anywhere. Errors: config, one sentence for the first thing that is wrong.
[[nodiscard]] Result<void> check_definition(const state::Definition& definition, const Registry& kinds);

/// Whether a service of that kind can listen there. Errors: config, a sentence.
[[nodiscard]] Result<void> check_speaks(const Kind& kind, const net::Endpoint& endpoint);

/// Whether every state of a known kind decodes. Errors: damaged; config for a newer schema.
[[nodiscard]] Result<void> check_states(const state::Archive& archive, const Registry& kinds);

}  // namespace tap::services
