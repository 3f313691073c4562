// StoreLock: who may use a store directory. One flock on LOCK, which is never unlinked.
//
// The file's content is only for the others: who holds the store, and whether that one is on its way out. It counts
// while the lock is held; an unlocked LOCK's content means nothing.
#pragma once

#include <cstdint>
#include <string>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::state {

/// What the holder says of itself.
struct LockHolder {
  int pid = 0;
  bool stopping = false;
  std::uint64_t stop_timeout_ms = 0;
  bool clean = false;  ///< it has saved everything, or there was nothing to save
};

/// Holds the lock from acquire() to the end of the object and of every process that inherited its descriptor.
class StoreLock {
 public:
  /// The second look at a holder that serves: its signal to stop may be on its way.
  static constexpr std::uint64_t kSecondLookMs = 200;
  /// What a stopping holder gets beyond its stop timeout, for saving.
  static constexpr std::uint64_t kSavingGraceMs = 5000;

  /// Takes the lock in `dir`. Waits for a holder that is stopping, up to its stop timeout; a holder that serves is
  /// looked at once more after kSecondLookMs. Blocks the calling thread meanwhile.
  /// Errors: cannot_create (73) names the holder's pid.
  [[nodiscard]] static Result<StoreLock> acquire(int dir, const std::string& directory_name);

  /// Takes over a descriptor inherited from the process that called acquire().
  [[nodiscard]] static StoreLock inherited(Fd fd) { return StoreLock(std::move(fd)); }

  /// Whether somebody holds the lock in `dir`, and who. Errors: no_input when there is no LOCK.
  [[nodiscard]] static Result<bool> held(int dir, LockHolder& holder);

  /// Whether the holder before this one ended cleanly, or there was none.
  [[nodiscard]] bool was_clean() const { return was_clean_; }

  /// Tells the others how things are.
  void announce(const LockHolder& holder) const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit StoreLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  bool was_clean_ = true;
};

}  // namespace tap::state
