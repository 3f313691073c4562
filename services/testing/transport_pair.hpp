// TransportPair: the two ends of one connection, in memory, where a test decides what the network does.
//
// Tests: tests/services/testing/transport_pair_test.cpp
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "services/net/protocol.hpp"

namespace tap::testing {

/// A protocol that writes down what it receives: the other end of a connection, played by a test.
class PlayedPeer final : public net::Protocol {
 public:
  void data_received(std::string_view data) override { received_.append(data); }
  void end_received() override { ended_ = true; }
  void connection_lost(const Error& reason) override { lost_ = reason.message; }

  void send(std::string_view bytes) { transport().write(bytes); }
  /// Sends no more; the other side may go on.
  void finish() { transport().lose_write_connection(); }
  void close() { transport().lose_connection(); }

  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] std::string take_received() { return std::exchange(received_, {}); }
  /// Whether the other side has sent its last byte.
  [[nodiscard]] bool ended() const { return ended_; }
  /// Why the connection is over; nullopt while it is not.
  [[nodiscard]] const std::optional<std::string>& lost() const { return lost_; }

 private:
  std::string received_;
  std::optional<std::string> lost_;
  bool ended_ = false;
};

/// What one end writes waits until step() or run() delivers it; nothing is called from inside a write. Both ends get
/// the treatment of a real transport: congestion, half-closed connections,
/// a Refusal or another exception ending theirs.
///
///     TransportPair pair(service.build_protocol());
///     pair.cut([](std::size_t) { return 1; });              // byte by byte
///     pair.peer().send("NEXT a\nNEXT b\n");
///     pair.run();
///     CHECK(pair.peer().received() == "1\n1\n");
///
/// Thread: one. Lifetime: owns both protocols; their connection_lost() is called at the latest by the destructor.
class TransportPair {
 public:
  enum class Side : std::uint8_t { server, client };

  /// As a real transport's: above this much undelivered an end is congested, until it is less than the second.
  static constexpr std::size_t kHighWaterBytes = std::size_t{64} * 1024;
  static constexpr std::size_t kLowWaterBytes = std::size_t{16} * 1024;
  static constexpr int kStepsMax = 1'000'000;

  /// The client is a PlayedPeer unless another protocol is given. connection_made() is called in both,
  /// the server's first.
  explicit TransportPair(std::unique_ptr<net::Protocol> server, std::unique_ptr<net::Protocol> client = nullptr);
  TransportPair(const TransportPair&) = delete;
  TransportPair& operator=(const TransportPair&) = delete;
  ~TransportPair();

  /// The played client. REQUIRES: no other one was given.
  [[nodiscard]] PlayedPeer& peer();
  /// The transport of one end, for what a test asks of it or does to it.
  [[nodiscard]] net::Transport& transport(Side side);

  // --- what the network does ---

  /// How many of the bytes that wait the next delivery takes; less than 1 means 1, more than there are means all.
  void cut(std::function<std::size_t(std::size_t waiting)> size) { size_ = std::move(size); }
  /// The connection is lost for both ends once so many bytes that `from` wrote were delivered; 0: in the next step.
  void lose_after(Side from, std::uint64_t bytes);
  /// That end takes no more bytes from the network, as a peer that has stopped reading; false ends it.
  void stop_reading(Side side, bool stopped = true);

  /// One delivery or one end. False: nothing is left to do.
  bool step();
  /// Steps until nothing is left to do. False: it goes on after `steps_max`.
  bool run(int steps_max = kStepsMax);

  // --- what a test looks at ---

  /// Bytes that `from` wrote and nobody has received yet.
  [[nodiscard]] std::size_t waiting(Side from) const;
  /// Bytes that `from` wrote and the other end has received.
  [[nodiscard]] std::uint64_t delivered(Side from) const;
  /// Whether the connection is over for that end.
  [[nodiscard]] bool over(Side side) const;
  /// What that end's protocol threw, or said to Transport::fail(); empty: nothing.
  [[nodiscard]] const std::string& failure(Side side) const;

 private:
  class End;
  [[nodiscard]] End& end(Side side) const { return *ends_[static_cast<std::size_t>(side)]; }
  bool deliver(Side from);
  void lose_both(const std::string& why);

  std::array<std::unique_ptr<End>, 2> ends_;
  std::function<std::size_t(std::size_t)> size_;
  PlayedPeer* peer_ = nullptr;
  Side next_ = Side::client;
};

}  // namespace tap::testing
