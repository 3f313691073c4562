// Poem: one version of a poem's file, as it was when it was opened; and PoemFile: the present one of a path.
//
// A file may be rewritten while it is served. What replaces it under its name (rename(2)) leaves the version alone: its
// descriptor goes on seeing the old bytes. What changes it in place is seen by its size and its time of modification,
// before a byte of it leaves. Times have the grain of the kernel's clock: a version that is as young as a grain could
// change without a trace, so a file is looked at again a moment later until it is older (git's "racy" entries).
//
// Tests: tests/services/poetry/poetry_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::services {

/// What tells one version of a file from another.
struct PoemStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::uint64_t modified_ns = 0;
  std::uint64_t changed_ns = 0;  ///< of its inode: a file that is renamed or linked has the same bytes

  bool operator==(const PoemStamp&) const = default;
  /// Whether both have the same bytes.
  [[nodiscard]] bool same_bytes(const PoemStamp& other) const {
    return size == other.size && modified_ns == other.modified_ns;
  }
};

/// Thread: any for all of it: nothing changes. Lifetime: shared by those that are in the middle of it.
class Poem {
 public:
  /// Up to this size the text is in memory, once for all clients.
  static constexpr std::size_t kInMemoryBytesMax = std::size_t{1} << 20U;

  /// Opens and looks; blocks. `present`, when it is still what the file is, is returned as it is.
  /// Errors: no_input: there is none, or it is no regular file; permission; temporary: it changes just now, it may be
  /// looked at again after kSettleMs; internal.
  [[nodiscard]] static Result<std::shared_ptr<const Poem>> open(const std::string& path,
                                                                const std::shared_ptr<const Poem>& present);
  static constexpr std::uint64_t kSettleMs = 20;

  [[nodiscard]] const PoemStamp& stamp() const { return stamp_; }
  [[nodiscard]] std::uint64_t size() const { return stamp_.size; }
  /// Whether text() is all of it.
  [[nodiscard]] bool in_memory() const { return !file_.open(); }
  [[nodiscard]] std::string_view text() const { return text_; }
  /// Up to `bytes_max` from `at` on, and less at the end only; blocks. REQUIRES: at < size(), not in_memory().
  /// Errors: damaged: it is not what it was; internal.
  [[nodiscard]] Result<std::string> read(std::uint64_t at, std::size_t bytes_max) const;

 private:
  Poem(const PoemStamp& stamp, Fd file) : stamp_(stamp), file_(std::move(file)) {}

  PoemStamp stamp_;
  Fd file_;  ///< closed when the text is in memory
  std::string text_;
};

using PoemPointer = std::shared_ptr<const Poem>;

/// `size` bytes of a poem from `at` on, read in libuv's pool. REQUIRES and Errors: Poem::read()'s.
[[nodiscard]] net::Deferred<std::string> read_poem(net::Reactor& reactor, PoemPointer poem, std::uint64_t at,
                                                   std::size_t size);

/// Thread:   the loop's.
/// Lifetime: the reactor outlives it. Those who still wait get an error when it goes.
class PoemFile {
 public:
  /// How often a file that changes is looked at before who asked is told that it does.
  static constexpr int kLooksMax = 10;

  PoemFile(net::Reactor& reactor, std::string path);
  PoemFile(const PoemFile&) = delete;
  PoemFile& operator=(const PoemFile&) = delete;

  /// What the file is now: looked at after this call, at once for all who have asked meanwhile. Errors:
  /// Poem::open()'s, told in the log when they begin and when they end.
  [[nodiscard]] net::Deferred<PoemPointer> get();

  [[nodiscard]] std::uint64_t versions() const { return versions_; }  ///< that were seen
  [[nodiscard]] std::uint64_t failures() const { return failures_; }  ///< looks that ended with an error

  /// A version that its last client lets go of is closed in the pool: the kernel frees its blocks then, if it has no
  /// name any more.
  void let_go(PoemPointer poem);

 private:
  [[nodiscard]] net::Deferred<void> look();
  [[nodiscard]] net::Deferred<PoemPointer> look_once();
  void keep(const Result<PoemPointer>& found);

  net::Reactor& reactor_;
  std::string path_;
  std::string who_;                   ///< the service, for the log
  PoemPointer kept_;                  ///< the last version, when it is in memory
  std::weak_ptr<const Poem> in_use_;  ///< the last version, when it is not
  std::vector<net::DeferredSource<PoemPointer>> asked_;
  PoemStamp last_;
  std::uint64_t versions_ = 0;
  std::uint64_t failures_ = 0;
  bool failing_ = false;
  net::Deferred<void> looking_;
  std::vector<net::Deferred<void>> closing_;
};

}  // namespace tap::services
