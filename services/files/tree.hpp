// FileTree: the files under one root, opened in the pool and kept for a moment,
// so that those asked for often cost little.
//
// Tests: tests/services/files/escape_test.cpp, http_test.cpp, line_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/files/opening.hpp"
#include "services/net/deferred.hpp"
#include "services/net/reactor.hpp"

namespace tap::services::files {

struct TreeCounts {
  std::uint64_t kept = 0;    ///< asked for and still known
  std::uint64_t opened = 0;  ///< looked at on the disk
  std::uint64_t unavailable = 0;
};

/// What is kept is believed for `keep_ms`: a file that changes is seen after that at the latest, an answer never mixes
/// two versions that were kept. Questions for one name at one time are asked once.
///
/// Thread:   the loop's.
/// Lifetime: the reactor outlives it. Dropping it drops what is asked: the Deferreds end with an error.
class FileTree {
 public:
  /// So many are kept, at most this many of them as descriptors, and so much of their content.
  static constexpr std::size_t kKeptMax = 1'024;
  static constexpr std::size_t kDescriptorsKeptMax = 128;
  static constexpr std::size_t kContentKeptMax = std::size_t{16} << 20U;
  /// So many are opened at once; more wait. The pool has four threads, others need it too.
  static constexpr std::size_t kOpeningMax = 32;
  /// That there are no descriptors is said at most so often.
  static constexpr std::uint64_t kSaidMs = 10'000;

  /// Errors: no_input, when there is no such directory; permission.
  [[nodiscard]] static Result<std::unique_ptr<FileTree>> open(net::Reactor& reactor, const std::string& root,
                                                              std::string service, std::uint64_t keep_ms);
  FileTree(const FileTree&) = delete;
  FileTree& operator=(const FileTree&) = delete;

  /// What is known of a name; nullptr: it has to be looked up. Lifetime: until the next call of anything here.
  [[nodiscard]] const Found* known(std::string_view name);
  /// `name` is plain, or empty. The answer is never an error but at the tree's end.
  [[nodiscard]] net::Deferred<Found> look_up(const std::string& name);
  /// See directory_page().
  [[nodiscard]] net::Deferred<std::string> page(const std::string& name, bool hidden);
  /// Has a part of a file read into memory, so that sending it does not block.
  [[nodiscard]] net::Deferred<void> fetch(std::shared_ptr<const OpenedFile> file, std::uint64_t offset,
                                          std::size_t bytes);

  [[nodiscard]] const TreeCounts& counts() const { return counts_; }
  [[nodiscard]] net::Reactor& reactor() { return reactor_; }

 private:
  struct Kept {
    std::string name;
    Found found;
    std::uint64_t until_ms;
  };
  struct Opening {
    std::vector<net::DeferredSource<Found>> waiting;
    net::Deferred<void> work;
  };

  FileTree(net::Reactor& reactor, std::string service, Fd root, std::uint64_t keep_ms);
  void begin(const std::string& name);
  void ended(const std::string& name, Result<Found> result);
  void keep(const std::string& name, const Found& found);
  void forget(std::list<Kept>::iterator kept);
  void say_unavailable();

  net::Reactor& reactor_;
  std::string service_;
  std::shared_ptr<const Fd> root_;  ///< the pool's too
  Guard guard_;
  std::uint64_t keep_ms_;
  TreeCounts counts_;
  std::list<Kept> kept_;  ///< the one used last first
  std::map<std::string, std::list<Kept>::iterator, std::less<>> by_name_;
  std::size_t descriptors_kept_ = 0;
  std::size_t content_kept_bytes_ = 0;
  std::map<std::string, Opening> opening_;
  std::size_t working_ = 0;
  std::deque<std::string> next_;  ///< of opening_, those not begun
  net::Timer said_;
};

}  // namespace tap::services::files
