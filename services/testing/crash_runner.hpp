// Crash runner: a service that is killed, or loses power, at every write of its store, and has to keep its promise.
//
//     const CrashReport report = crash_at_every_write(tally_kind(), {{"ann\n", "bob\n", "ann\n"}});
//     CHECK_MESSAGE(report.ok(), report.text());
//
// Tests: tests/services/testing/crash_runner_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "services/kind.hpp"

namespace tap::testing {

/// What clients do, and what was promised to them. The answer to a request has to depend on the requests before it
/// only, and on nothing that another run would not have: no random numbers, no time of day.
struct CrashScript {
  static constexpr std::size_t kRequestsMax = 500;

  std::vector<std::string>
      requests{};  ///< whole, with their newline or whatever ends them; empty: to connect is the request
  std::string durability = "strict";
  std::map<std::string, std::string> options{};  ///< the kind's own
  /// So many are sent before their answers are waited for.
  std::size_t at_once = 1;
  /// Each request comes over a connection of its own; otherwise there is one for all.
  bool connection_each = false;
  /// Virtual time that passes after each group, for interval durability.
  std::uint64_t pause_ms = 0;
  /// Of what a power cut may leave at one moment, at most so many outcomes are tried, chosen by a fixed seed.
  std::size_t outcomes_max = 16;
};

struct CrashReport {
  static constexpr std::size_t kBrokenMax = 5;

  std::uint64_t moments = 0;  ///< at which everything ended
  std::uint64_t states = 0;   ///< of the disk, that were recovered
  std::vector<std::string>
      broken;  ///< what was wrong, a sentence each, at most kBrokenMax; also a script that cannot be run

  [[nodiscard]] bool ok() const { return broken.empty() && states > 0; }
  /// "kept its promise in 512 states left by crashes at 34 moments", or what was wrong, a line each.
  [[nodiscard]] std::string text() const;
};

/// Runs the script on a disk in memory, ends it before each of its writes (and other changes of the disk) and at the
/// end, lets a new process recover from each of the states that a kill or a power cut may have left, and asks it the
/// rest of the script. What has to hold depends on the durability:
///
///   strict    the state is the one after some number of requests: at least those whose answer a client
///   has seen any byte
///             of, at most those that were sent; and the rest is answered as if nothing had happened.
///   interval  the same, but answers of the last interval may be forgotten.
///   shutdown  the same, but everything since the last clean stop may be forgotten.
///   reserve   no answer that was seen comes again. (Each answer of the script has to be different from all others.)
///
/// Thread: one. Takes about a millisecond for each state.
[[nodiscard]] CrashReport crash_at_every_write(const services::Kind& kind, const CrashScript& script);

}  // namespace tap::testing
