// Store: the directory that holds one application's archives, its journal, and its lock.
//
// Files and what recovery does with each kind of damage: state/FORMAT.md, section 4.
// Tests: tests/state/store_test.cpp
//
// Nothing above the store may assume a file: it opens, loads, replays, appends, saves and closes. Both the journal's
// append and save() move the store from one durable point to the next.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "state/archive.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"
#include "state/disk.hpp"
#include "state/journal.hpp"

namespace tap::state {

/// An archive together with the bytes' identity.
struct StoredArchive {
  Archive archive;
  Digest digest;
  std::string file;  ///< its name inside the store
  std::uint64_t file_bytes = 0;
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
  explicit Store(Fd directory);
  /// For a disk that is none: the tests'. copy_newest() needs a real one.
  explicit Store(std::unique_ptr<Disk> disk);

  /// Loads the newest archive, after clearing away what an interrupted save left (*.tmp). An older damaged archive is
  /// moved to quarantine/. nullopt: the store is empty.
  /// When the newest archive is damaged and the journal leads from the one before it to everything that was durable,
  /// the damaged one is moved to quarantine/ and the older one is the answer.
  /// Errors: damaged, when the newest archive is and the journal does not (nothing is touched: going back silently is
  /// what this program exists to prevent); config, for a newer format.
  /// With `look_only` nothing is cleared away or moved.
  [[nodiscard]] Result<std::optional<StoredArchive>> load(bool look_only = false);

  /// What the journal says since the archive, told to `sink` (may be nullptr). Changes nothing. Errors: read_journal().
  [[nodiscard]] Result<JournalEnd> replay(const Archive& archive, ReplaySink* sink,
                                          std::uint64_t until_lsn = std::numeric_limits<std::uint64_t>::max());
  /// Takes away what an unclean end has left behind: the torn batch is copied to quarantine/ and cut, segments of a
  /// lineage that --rewind has left are moved there. Says so in the report. REQUIRES:
  /// `end` is replay()'s for `archive`.
  [[nodiscard]] Result<void> settle(const Archive& archive, const JournalEnd& end);
  /// Begins this opener's part of the journal, behind `end`; `epoch` is above every one there was. `supply` outlives
  /// the writer; so does the store.
  [[nodiscard]] Result<std::unique_ptr<JournalWriter>> start_journal(SegmentSupply& supply, const Archive& archive,
                                                                     const JournalEnd& end, std::uint64_t epoch,
                                                                     std::vector<Introduction> services);
  /// Moves every archive but the newest to quarantine/, because no journal leads from them to it.
  [[nodiscard]] Result<void> set_older_aside(const std::string& why);
  /// Removes generations, and hands segments to `supply` (may be nullptr: removes them), that nothing needs any more
  /// once `newest` is durable. What cannot be removed is said and does no harm.
  void tidy(std::uint64_t newest, SegmentSupply* supply);

  /// Makes `archive` the store's newest: its generation must be above every one there. Durable on return; on error the
  /// store is as it was. Removes what is no longer needed, see tidy().
  [[nodiscard]] Result<StoredArchive> save(Archive archive);
  /// The same without removing anything.
  [[nodiscard]] Result<StoredArchive> add(Archive archive);

  /// Takes a given archive into an empty store, byte for byte.
  [[nodiscard]] Result<StoredArchive> adopt(ByteView bytes);

  /// `--rewind`: moves everything aside into quarantine/ and starts a child lineage of the given archive.
  [[nodiscard]] Result<StoredArchive> rewind(const Archive& archive, const Digest& digest);

  /// The highest generation there is, by its file's name; 0: the store is empty.
  [[nodiscard]] Result<std::uint64_t> newest_generation() const;

  /// How `archive` stands to `present`, the result of load().
  [[nodiscard]] static Relation relation(const std::optional<StoredArchive>& present, const Archive& archive,
                                         const Digest& digest);

  /// Copies the newest archive to `to_dir/name` (never a hard link).
  [[nodiscard]] Result<void> copy_newest(int to_dir, const std::string& name) const;

  /// Every archive file, newest first. Takes no lock and changes nothing: for a look from outside.
  [[nodiscard]] Result<std::vector<StoreEntry>> list() const;

  /// Whether a file of this name inside a store is the store's own: LOCK, quarantine, an archive, a segment, or the
  /// temporary of one.
  [[nodiscard]] static bool owns(std::string_view name);

  /// What load(), save() and rewind() did beyond their answer: sentences for the log, taken once.
  [[nodiscard]] std::vector<std::string> take_report() { return std::exchange(report_, {}); }

  [[nodiscard]] Disk& disk() { return *disk_; }
  /// The directory's descriptor; -1 when the disk is none.
  [[nodiscard]] int directory() const { return directory_; }

 private:
  struct Candidate {
    std::string file;
    std::uint64_t generation;
  };
  [[nodiscard]] Result<std::vector<Candidate>> candidates() const;
  [[nodiscard]] Result<StoredArchive> read(const Candidate& candidate, Payloads payloads = Payloads::copied) const;
  [[nodiscard]] Result<void> remove_leftovers();
  [[nodiscard]] Result<void> quarantine(const std::string& file, const std::string& why);
  [[nodiscard]] Result<StoredArchive> write(ByteView bytes, Archive archive);
  [[nodiscard]] Result<StoredArchive> write(Archive archive);
  [[nodiscard]] std::optional<std::uint64_t> base_lsn(const std::string& file) const;
  [[nodiscard]] Result<StoredArchive> fall_back(const Candidate& damaged, const Candidate& older, Error error,
                                                bool look_only);

  int directory_ = -1;  // the disk's, when it is a real one
  std::unique_ptr<Disk> disk_;
  std::vector<std::string> report_;
};

/// Reads and decodes the archive at a path, wherever it lies.
[[nodiscard]] Result<StoredArchive> read_archive_file(const std::string& path);

}  // namespace tap::state
