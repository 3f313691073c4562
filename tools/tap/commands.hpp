// The commands of `tap`, one function each; main.cpp parses their words.
//
// Each prints its answer on standard output and returns 0, or an Error whose exit code is the program's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "services/kind.hpp"
#include "services/store_view.hpp"
#include "state/lock.hpp"
#include "state/store.hpp"
#include "state/text.hpp"

namespace tap::tools {

/// `tap make KIND ...`: a first archive.
[[nodiscard]] Result<void> make_archive(const std::vector<std::string>& words, const services::Registry& kinds);

struct ShowOptions {
  bool json = false;
  bool full = false;
};
/// `tap show FILE|DIR`
[[nodiscard]] Result<void> show(const std::string& path, const ShowOptions& options, const services::Registry& kinds);
/// `tap list DIR`
[[nodiscard]] Result<void> list(const std::string& directory);
/// `tap verify FILE|DIR`: every checksum, and every payload by its kind.
[[nodiscard]] Result<void> verify(const std::string& path, const services::Registry& kinds);
/// `tap convert IN OUT`, formats by extension. `format_version`: of the .tap to be written, 0: the newest.
[[nodiscard]] Result<void> convert(const std::string& from, const std::string& to, std::uint32_t format_version,
                                   const services::Registry& kinds);

struct EditOptions {
  std::vector<std::string> set;  ///< "SERVICE.path=value"; empty: $VISUAL, $EDITOR or vi
};
/// `tap edit DIR|FILE`: changes states. A store gets a new generation of its lineage; a file becomes a child lineage.
[[nodiscard]] Result<void> edit(const std::string& path, const EditOptions& options, const services::Registry& kinds);
/// `tap purge DIR SERVICE`: forgets what is kept for a service that is not configured.
[[nodiscard]] Result<void> purge(const std::string& directory, const std::string& service,
                                 const services::Registry& kinds);

struct RepairOptions {
  std::string to;       ///< the new store; empty: only explain
  unsigned choice = 0;  ///< which of the choices, from 1
};
/// `tap repair DIR`: explains what recovery refuses, shows the choices, and makes one of them, in a copy.
[[nodiscard]] Result<void> repair(const std::string& directory, const RepairOptions& options,
                                  const services::Registry& kinds);
/// `tap diff A B`: prints what differs; true when nothing does.
[[nodiscard]] Result<bool> diff(const std::string& a, const std::string& b, const services::Registry& kinds);

// --- shared by them ---------------------------------------------------------------------------------------------

[[nodiscard]] bool is_directory(const std::string& path);
/// The store in a directory, for looking only. Errors: no_input.
[[nodiscard]] Result<state::Store> open_store(const std::string& directory);
/// An archive file, or the newest archive of a store.
[[nodiscard]] Result<state::StoredArchive> read_any(const std::string& path);
/// A store that nobody uses, locked as long as the object lives. Errors: no_input; cannot_create (73) names the holder.
struct LockedStore {
  state::Store store;
  state::StoreLock lock;
};
[[nodiscard]] Result<LockedStore> lock_store(const std::string& directory);
/// The same with what it would give to the next start, for a change of it. Errors: damaged too.
struct ChangeableStore {
  LockedStore locked;
  services::StoreView view;
};
[[nodiscard]] Result<ChangeableStore> open_for_change(const std::string& directory, const services::Registry& kinds);
/// Makes `next` the store's newest generation, after settling what recovery would settle.
[[nodiscard]] Result<state::StoredArchive> save_change(ChangeableStore& changeable, state::Archive next);
/// The pid of the tapd that uses the store, if one does.
[[nodiscard]] std::optional<int> running_pid(const std::string& directory);
/// The state types of the known kinds.
[[nodiscard]] state::StateTypes state_types(const services::Registry& kinds);

}  // namespace tap::tools
