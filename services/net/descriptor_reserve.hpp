// DescriptorReserve: descriptors that no connection gets, so that the journal, archives and logs can always be opened.
//
// Tests: tests/services/net/listener_policy_test.cpp
#pragma once

#include <cstdint>

namespace tap::net {

/// Thread: one.
///
/// The kernel gives the lowest free number, so the number of a fresh descriptor tells how many are taken: far from the
/// limit that is all that is looked at. Near it, one is opened to see (getrlimit(2), RLIMIT_NOFILE).
class DescriptorReserve {
 public:
  /// So many are kept back; a quarter where the limit is very low.
  static constexpr std::uint64_t kDescriptorReserve = 32;
  /// So near the limit it is looked at closely, as others than connections open files too.
  static constexpr std::uint64_t kNear = 64;

  /// A descriptor was given to a connection.
  void note(int fd) { newest_ = static_cast<std::uint64_t>(fd); }
  /// Whether a connection may have one.
  [[nodiscard]] bool enough();
  /// What RLIMIT_NOFILE allows, as far as was looked at.
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  [[nodiscard]] std::uint64_t reserve() const;

 private:
  [[nodiscard]] bool look();

  std::uint64_t newest_ = 0;
  std::uint64_t limit_ = 0;
};

}  // namespace tap::net
