// Compaction: the next archive, made from the newest one and the journal behind it.
//
// It is recovery without ports: every compaction rehearses what the next start would do.
//
// Tests: tests/services/compaction_test.cpp
#pragma once

#include <cstdint>

#include "services/kind.hpp"
#include "services/net/log.hpp"
#include "state/store.hpp"

namespace tap::services {

/// What is to be made, as the one who keeps the journal wants it.
struct CompactionOrder {
  std::uint64_t until_lsn = 0;   ///< where a segment ends: everything up to here is folded in
  std::uint64_t epoch = 0;       ///< of the journal's writer
  std::uint64_t generation = 0;  ///< of the archive to be made; the newest one there is the one before it

  /// "until_lsn epoch generation"
  [[nodiscard]] std::string text() const;
  [[nodiscard]] static Result<CompactionOrder> parse(const std::string& text);
};

/// Reads the newest archive and the segments up to order.until_lsn, and makes the archive; removes nothing.
/// The journal's writer may go on meanwhile: it is only read where it ends no more.
/// Memory: a few times the state. Errors: as recovery; temporary when the disk has too little room for it.
[[nodiscard]] Result<state::StoredArchive> compact(state::Store& store, const state::Definition& definition,
                                                   const Registry& kinds, const CompactionOrder& order, LogSink& log);

}  // namespace tap::services
