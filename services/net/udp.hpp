// UdpTransport: a bound UDP socket on the loop.
//
// It watches the socket by uv_poll_t and reads and writes with recvmsg(2) and sendmsg(2), not with uv_udp_t: that one
// tells neither to which of our addresses a datagram came (see DatagramAddress) nor that it came to everybody, and it
// sets SO_REUSEADDR, with which any local user could bind the port a second time and take our datagrams. recvmmsg(2)
// needs 64 KiB of buffer for each datagram; the loop's shared buffer is the size of one, and reads follow each other
// until the socket is empty or others have waited long enough.
//
// Tests: tests/services/net/udp_test.cpp, tests/services/net/udp_gate_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/datagram.hpp"
#include "services/net/gate.hpp"
#include "services/net/reactor.hpp"
#include "services/net/repeated_line.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::net {

/// What is counted, for the status report.
struct DatagramCounts {
  std::uint64_t received = 0;      ///< given to the protocol
  std::uint64_t sent = 0;          ///< taken by the kernel
  std::uint64_t refused = 0;       ///< not answered on purpose
  std::uint64_t failed = 0;        ///< the protocol threw
  std::uint64_t dropped = 0;       ///< answers that could not be sent
  std::uint64_t to_everybody = 0;  ///< broadcasts and multicasts: not looked at

  DatagramCounts& operator+=(const DatagramCounts& other);
};

/// Thread:     the loop's.
/// Lifetime:   the reactor, the gate and the list of ports outlive it. It is not dropped from inside a call to its
///             protocol. Dropping it stops the protocol and loses what is not sent; drain() waits for that.
/// Invariants: queue_ is in the order of writing, so positions of the gate in it only grow.
class UdpTransport final : public DatagramTransport, private Flushable, private GateWaiter {
 public:
  /// After so many datagrams of one port the others of the loop have their turn.
  static constexpr std::size_t kReadsPerTurnMax = 64;
  /// What waits to be sent; more is dropped. Each datagram counts for kDatagramCost more than its bytes.
  static constexpr std::size_t kQueueBytesMax = std::size_t{1} << 20U;
  static constexpr std::size_t kDatagramCost = 256;
  /// Above this much nothing more is read until half of it has left: when datagrams must be lost, then rather
  /// questions, by the kernel, than the answers to changes that have been made.
  static constexpr std::size_t kHighWaterBytes = kQueueBytesMax / 2;
  /// After an error of recvmsg(2) the next attempt waits so long.
  static constexpr std::uint64_t kReadPauseMs = 1000;
  /// Reasons of refuse() that are told apart in the log.
  static constexpr std::size_t kReasonsMax = 16;

  /// `ports`: where this process receives datagrams. `gate`: what answers wait for, see gate.hpp; nullptr: for nothing.
  UdpTransport(Reactor& reactor, std::string service, std::unique_ptr<DatagramProtocol> protocol,
               const std::vector<std::uint16_t>& ports, Gate* gate = nullptr);
  ~UdpTransport() override;

  /// Takes over a socket of bind_endpoint(), starts the protocol and reads. Errors: internal.
  [[nodiscard]] Result<void> open(Fd bound);

  void write(std::string_view datagram, const DatagramAddress& to) override;
  void refuse(std::string_view why, const DatagramAddress& from) override;
  [[nodiscard]] bool serves_port(std::uint16_t port) const override;

  /// Reads no more; when everything that waits has been sent, `done` is called, from a later turn.
  void drain(std::function<void()> done);
  /// Ends the protocol and the socket now, and with it a drain; what waits is lost. May be repeated.
  void close();

  [[nodiscard]] const DatagramCounts& counts() const { return counts_; }
  [[nodiscard]] std::size_t queued_bytes() const { return queued_bytes_; }

 private:
  struct Box;
  struct Waiting {
    DatagramAddress to;
    std::string bytes;
    std::uint64_t position;  ///< of the gate; 0: leaves at once
    [[nodiscard]] std::size_t cost() const { return bytes.size() + kDatagramCost; }
  };

  void flush() override;
  void gate_passed() override;
  void flush_at_turn_end();
  void readable();
  [[nodiscard]] bool receive_one();
  void deliver(std::string_view datagram, const DatagramAddress& from);
  [[nodiscard]] bool must_wait(const Waiting& next);
  [[nodiscard]] bool send_now(const Waiting& next);
  void drop(std::string_view why);
  void pause_reading(int code);
  void account_held();
  void update_polling();
  void tell_drained();

  Reactor& reactor_;
  std::string service_;
  std::unique_ptr<DatagramProtocol> protocol_;
  const std::vector<std::uint16_t>& ports_;
  Gate* gate_;
  Fd fd_;
  Box* box_ = nullptr;
  DatagramCounts counts_;
  std::deque<Waiting> queue_;
  std::size_t queued_bytes_ = 0;
  std::size_t held_accounted_ = 0;  ///< what the gate was told that we hold
  int polled_ = 0;                  ///< what uv_poll_start was told
  std::list<RepeatedLine> refusals_;
  RepeatedLine read_errors_;
  RepeatedLine failures_;
  RepeatedLine drops_;
  Timer read_pause_;
  Timer drain_end_;
  std::function<void()> drained_;
  bool dirty_ = false;
  bool waiting_ = false;    ///< for the gate
  bool blocked_ = false;    ///< for the kernel to take more
  bool throttled_ = false;  ///< reading is paused until the queue is shorter
  bool draining_ = false;
};

}  // namespace tap::net
