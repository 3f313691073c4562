// StoreView: what a store would give to the next start, found out without changing anything.
//
// Tests: tests/services/application_state_test.cpp
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "services/kind.hpp"
#include "services/net/log.hpp"
#include "state/store.hpp"

namespace tap::services {

struct StoreView {
  state::StoredArchive stored;  ///< the archive that recovery begins with
  state::Archive present;       ///< the same generation with everything that the journal says since, up to its base LSN
  state::JournalEnd end;
  std::vector<std::string> notes;  ///< what the store said of its archives
  /// Set when the journal cannot be read to its end: `present` is what was there before the damage.
  std::optional<Error> damage;

  /// What recovery would do and why, a sentence each: what is replayed, cut, moved aside, kept for absent services.
  [[nodiscard]] std::vector<std::string> report() const;
};

/// Recovers a store in memory, from its newest archive that is whole. States of kinds that this program does not know
/// stay as they are. Errors: as Store::load(); damage in the journal is part of the view.
[[nodiscard]] Result<StoreView> view_store(state::Store& store, const Registry& kinds);

/// The same beginning with a certain archive, for looking back; `from` is an entry of Store::list().
[[nodiscard]] Result<StoreView> view_store_from(state::Store& store, state::StoredArchive from, const Registry& kinds);

}  // namespace tap::services
