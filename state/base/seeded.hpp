// Seeded bugs: faults compiled in on purpose, so that the tools that hunt for lost data can be seen to find them.
//
// In every ordinary build TAP_SEEDED() is the constant false. A build with -DTAP_SEEDED_BUGS=ON (never installed) has
// the one bug that $TAPD_SEEDED_BUG names.   Run by: tests/torture, tools/torture --seeded
#pragma once

namespace tap {

enum class SeededBug {
  none,
  no_data_sync,          ///< "no_data_sync": batches are not synced
  rename_before_sync,    ///< "rename_before_sync": an archive gets its name before its bytes are durable
  no_directory_sync,     ///< "no_directory_sync": directories are never synced
  reply_before_durable,  ///< "reply_before_durable": the gate lets everything out at once
  append_after_tear,  ///< "append_after_tear": recovery goes on in the segment behind a torn batch, without cutting it
  early_removal,      ///< "early_removal": the old generation and its segments go before the new one is durable
};

/// The bug of this process. Thread: any.
[[nodiscard]] SeededBug seeded_bug();

}  // namespace tap

#ifdef TAP_SEEDED_BUGS
#define TAP_SEEDED(bug) (::tap::seeded_bug() == ::tap::SeededBug::bug)
#else
#define TAP_SEEDED(bug) false
#endif
