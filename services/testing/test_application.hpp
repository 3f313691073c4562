// TestApplication: one service with its store, as tapd's worker runs it, on a disk in memory.
//
// Tests: tests/services/testing/crash_runner_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "services/kind.hpp"
#include "services/testing/simulated_disk.hpp"
#include "services/testing/test_loop.hpp"
#include "state/base/bytes.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::testing {

/// What a config would say of the service.
struct TestedService {
  std::string durability = "strict";
  std::map<std::string, std::string> options;  ///< the kind's own
};

/// A client over a real socket of this process; nothing waits. Thread: one.
class TestClient {
 public:
  explicit TestClient(Fd fd) : fd_(std::move(fd)) {}

  /// Errors: unavailable, when the service has ended the connection, or takes no more.
  [[nodiscard]] Result<void> send(std::string_view bytes);
  /// Takes in what is there now. Returns whether there was something.
  bool read_now();
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  Fd fd_;
  std::string received_;
  bool ended_ = false;
};

/// Order of the recovery: that of daemon/worker.cpp. It listens on an abstract UNIX socket (unix(7)) with a name of its
/// own, no port and no file. What the service sends waits for its state as in tapd:
/// what a client has received is durable.
///
/// Thread:   one; the journal is synced in the loop.
/// Lifetime: disk and kind outlive it. Dropping it is a crash: nothing more is written.
class TestApplication {
 public:
  /// What may be written between start and stop, padding included.
  static constexpr std::size_t kJournalBytesMax = std::size_t{256} << 10U;

  /// Recovers what the disk has, or makes a first archive, and starts the service.
  /// Errors: config, for options; those of recovery; those of the service's start().
  [[nodiscard]] static Result<std::unique_ptr<TestApplication>> start(SimulatedDisk& disk, const services::Kind& kind,
                                                                      const TestedService& service = {});
  TestApplication(const TestApplication&) = delete;
  TestApplication& operator=(const TestApplication&) = delete;
  ~TestApplication();

  [[nodiscard]] TestLoop& loop();
  /// Errors: internal.
  [[nodiscard]] Result<std::unique_ptr<TestClient>> connect();
  /// The state as it is now; empty for a kind without one.
  [[nodiscard]] Result<Bytes> state() const;
  /// Whether more than kJournalBytesMax was written: then a thread makes room, and writes come in no certain order.
  [[nodiscard]] bool outgrown() const;
  /// The clean end: connections away, journal sealed, state archived. Errors: those of the disk.
  [[nodiscard]] Result<void> stop();

 private:
  struct Parts;
  explicit TestApplication(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace tap::testing
