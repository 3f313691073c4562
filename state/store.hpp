// Store: the directory that holds one application's archives, later its journal, and its lock.
//
// Files and what recovery does with each kind of damage: state/FORMAT.md, section 4.   Tests: tests/state/store_test.cpp
//
// Nothing above the store may assume a file: it opens, loads, saves and closes. (The journal's append comes beside
// save(); both move the store from one durable point to the next.)
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "state/archive.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::state {

/// An archive together with the bytes' identity.
struct StoredArchive {
  Archive archive;
  Digest digest;
  std::string file;  ///< its name inside the store
};

/// How an archive given by the user stands to what a store holds (DESIGN: the table under "Command line").
enum class Relation {
  store_is_empty,
  present,    ///< the store's present archive, byte for byte
  ancestor,   ///< an earlier one of the same lineage, or the one this lineage was started from
  unrelated,  ///< anything else: another lineage, newer, or the same generation with other content
};

/// One archive file as `tap list` shows it, readable or not.
struct StoreEntry {
  std::string file;
  std::uint64_t generation = 0;
  Result<StoredArchive> content;
};

/// REQUIRES: the caller holds the store's lock (lock.hpp) for every call but list().
/// Thread:   one at a time, any.
/// Lifetime: owns the directory's descriptor; works on after a chroot.
/// Invariants: the newest generation on disk is complete; generation g-1 stays until g+1 exists, unless it was found
///             damaged.
class Store {
 public:
  explicit Store(Fd directory) : directory_(std::move(directory)) {}

  /// Loads the newest archive, after clearing away what an interrupted save left (*.tmp). An older damaged archive is
  /// moved to quarantine/. nullopt: the store is empty.
  /// Errors: damaged, when the newest archive is (nothing is touched: there is no journal to bring the older one up
  /// to date, and going back silently is what this program exists to prevent); config, for a newer format.
  /// With `look_only` nothing is cleared away or moved.
  [[nodiscard]] Result<std::optional<StoredArchive>> load(bool look_only = false);

  /// Makes `archive` the store's newest: its generation must be above every one there. Durable on return; on error the
  /// store is as it was. Removes generations that are no longer needed.
  [[nodiscard]] Result<StoredArchive> save(const Archive& archive);

  /// Takes a given archive into an empty store, byte for byte.
  [[nodiscard]] Result<StoredArchive> adopt(ByteView bytes);

  /// `--rewind`: moves everything aside into quarantine/ and starts a child lineage of the given archive.
  [[nodiscard]] Result<StoredArchive> rewind(const Archive& archive, const Digest& digest);

  /// How `archive` stands to `present`, the result of load().
  [[nodiscard]] static Relation relation(const std::optional<StoredArchive>& present, const Archive& archive,
                                         const Digest& digest);

  /// Copies the newest archive to `to_dir/name` (never a hard link).
  [[nodiscard]] Result<void> copy_newest(int to_dir, const std::string& name) const;

  /// Every archive file, newest first. Takes no lock and changes nothing: for a look from outside.
  [[nodiscard]] Result<std::vector<StoreEntry>> list() const;

  /// Whether a file of this name inside a store is the store's own: LOCK, quarantine, an archive or its temporary.
  [[nodiscard]] static bool owns(std::string_view name);

  /// What load(), save() and rewind() did beyond their answer: sentences for the log, taken once.
  [[nodiscard]] std::vector<std::string> take_report() { return std::exchange(report_, {}); }

  [[nodiscard]] int directory() const { return directory_.get(); }

 private:
  struct Candidate {
    std::string file;
    std::uint64_t generation;
  };
  [[nodiscard]] Result<std::vector<Candidate>> candidates() const;
  [[nodiscard]] Result<StoredArchive> read(const Candidate& candidate) const;
  [[nodiscard]] Result<void> remove_leftovers();
  [[nodiscard]] Result<void> quarantine(const std::string& file, const std::string& why);
  [[nodiscard]] Result<StoredArchive> write(ByteView bytes);
  void remove_old_generations(std::uint64_t newest);

  Fd directory_;
  std::vector<std::string> report_;
};

/// Reads and decodes the archive at a path, wherever it lies.
[[nodiscard]] Result<StoredArchive> read_archive_file(const std::string& path);

}  // namespace tap::state
