// SimulatedDisk: a disk in memory that knows, of each byte and of each name, whether a power cut would leave it there.
//
// What a file system may do with what was not synced, and this one does:
//   - each 512-byte sector of each write is kept or lost, whatever became of the others (so writes are reordered, and
//     torn at each sector);
//   - a file that grew has its new length or the old one, whatever became of what was written there;
//   - each change of a directory is kept or lost; one that is kept keeps those before it that touch the same names.
// What was synced stays. A failed sync loses what was not synced, although reading goes on to show it until what memory
// holds is dropped: so does Linux, which marks the pages clean. After a failed sync of a directory the next one says
// yes and does nothing, unless something was changed in between: then the whole directory is written.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "state/disk.hpp"

namespace tap::testing {

inline constexpr std::size_t kSectorBytes = 512;

/// Bytes that are copied when they are changed and somebody else has them too.
class SharedBytes {
 public:
  [[nodiscard]] const Bytes& operator*() const { return *bytes_; }
  [[nodiscard]] const Bytes* operator->() const { return bytes_.get(); }
  [[nodiscard]] bool same_as(const SharedBytes& other) const { return bytes_ == other.bytes_; }
  /// Overwrites; grows by zeros where there was nothing.
  void put(std::size_t offset, ByteView bytes);
  void resize(std::size_t size);

 private:
  [[nodiscard]] Bytes& own();
  std::shared_ptr<Bytes> bytes_ = std::make_shared<Bytes>();
};

/// A value: a copy is the same disk at the same moment, and goes its own way from there. Copies are cheap.
///
/// Thread:   one at a time.
/// Lifetime: it stays where it is as long as what plug_in() gave, and the files opened there, are used.
class SimulatedDisk {
 public:
  explicit SimulatedDisk(std::size_t block_bytes = kSectorBytes) : block_bytes_(block_bytes) {}

  /// The disk as a store wants it.
  [[nodiscard]] std::unique_ptr<state::Disk> plug_in();

  // --- trouble ---

  enum class Trouble : std::uint8_t {
    once,       ///< one call fails
    from_then,  ///< so does each that changes something, until heal(); a full disk syncs, renames and removes
    gone,       ///< so does every call
  };
  /// The call with this number, from 1, fails with `code` (an errno).
  void fail_at(std::uint64_t call, int code, Trouble trouble);
  void heal() { code_ = 0; }
  /// Calls there were, and of these, those that can change what is on the disk.
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  /// Whether a call has failed since this was last asked.
  [[nodiscard]] bool take_failed() { return std::exchange(failed_, false); }
  /// Calls `watcher` before each call that changes something: what was left by a crash there is a copy made then.
  void watch(std::function<void()> watcher) { watcher_ = std::move(watcher); }

  // --- crashes ---

  /// How many things a power cut could keep or lose now.
  [[nodiscard]] std::size_t unsynced() const;
  /// What is on the disk after a power cut that kept those of the unsynced things, in the order of their happening.
  /// REQUIRES: kept.size() == unsynced().
  [[nodiscard]] SimulatedDisk after_power_cut(const std::vector<bool>& kept) const;
  /// What the next process finds when this one was killed: everything that was written, synced or not.
  [[nodiscard]] SimulatedDisk after_kill() const;

  // --- behind the store's back ---

  /// Names and bytes of all files.
  [[nodiscard]] std::map<std::string, Bytes> files() const;
  /// Durable at once. Replaces what is there.
  void put(const std::string& name, const Bytes& bytes);
  void erase(const std::string& name);

 private:
  class Face;
  class File;
  enum class Call : std::uint8_t { look, write, names, sync };

  struct Write {
    std::uint64_t order = 0;
    std::size_t offset = 0;
    Bytes bytes;
    bool grows = false;
  };
  struct Node {
    SharedBytes durable;
    SharedBytes visible;
    std::vector<Write> unsynced;
    bool lied = false;  // a sync has failed: what is visible is more than what will be durable
  };
  struct NameChange {
    std::uint64_t order = 0;
    std::string from;  // goes away, if not empty
    std::string to;    // comes, if not empty
    std::uint64_t node = 0;
    [[nodiscard]] bool touches(const NameChange& other) const;
    [[nodiscard]] bool in_directory(const std::string& directory) const;
  };
  using Names = std::map<std::string, std::uint64_t>;
  /// One thing that a power cut keeps or loses.
  struct Piece {
    enum class What : std::uint8_t { name, length, sector };
    What what;
    std::uint64_t order;
    std::uint64_t node;
    std::size_t index;   // of the name change or the write
    std::size_t sector;  // in the write
  };

  [[nodiscard]] std::optional<Error> step(Call call, const std::string& what);
  [[nodiscard]] std::vector<Piece> pieces() const;
  void add_pieces(std::uint64_t number, const Node& node, std::vector<Piece>& out) const;
  void change_name(std::string from, std::string to, std::uint64_t node);
  [[nodiscard]] Result<std::uint64_t> find(const std::string& name) const;
  [[nodiscard]] static Bytes on_disk(const Node& node);
  static void apply(const NameChange& change, Names& names);
  void forget_nameless();

  std::size_t block_bytes_;
  std::map<std::uint64_t, Node> nodes_;
  Names durable_names_;
  Names names_;
  std::vector<NameChange> unsynced_names_;
  std::set<std::string> lying_directories_;  // whose last sync has failed
  std::set<std::string> directories_;
  std::uint64_t next_ = 1;  // node or order
  std::uint64_t calls_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t fails_at_ = 0;
  int code_ = 0;
  Trouble trouble_ = Trouble::once;
  bool failed_ = false;
  std::function<void()> watcher_;
};

/// Ways in which `pieces` things are kept or lost: all 2^pieces when they are at most `most`; otherwise nothing,
/// everything, every beginning, every end, each alone, all but each, and others by chance, `most` of them.
[[nodiscard]] std::vector<std::vector<bool>> outcomes(std::size_t pieces, std::size_t most, std::mt19937_64& random);

}  // namespace tap::testing
