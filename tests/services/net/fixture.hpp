// What the tests of the network share: a loop on a virtual clock, protocols made of lambdas, a peer that never blocks.
//
// Nothing here sleeps: a test turns the loop until what it waits for is there, or a deadline makes it fail.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/net/bind.hpp"
#include "services/net/endpoint.hpp"
#include "services/net/listener.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"
#include "services/net/stream.hpp"
#include "services/testing/recording_log.hpp"
#include "services/testing/virtual_clock.hpp"
#include "state/base/fd.hpp"

namespace tap::tests {

/// A reactor, the clock that it lives by, and what it said.
struct Loop {
  Loop();

  testing::RecordingLog log;
  testing::VirtualClock clock;
  net::Reactor reactor{log, clock};

  /// So many turns, none of which waits: for what must happen soon, or must not happen at all.
  void turn(int count = 1);
  /// Turns until `holds`; false when it does not within the tests' patience.
  [[nodiscard]] bool turn_until(const std::function<bool()>& holds);
};

/// What a ScriptedProtocol does when it is called; an empty one is the Protocol's own default.
struct Script {
  std::function<void(net::Transport&)> made;
  std::function<void(net::Transport&, std::string_view)> data;
  std::function<void(net::Transport&, std::size_t)> forwarded;
  std::function<void(net::Transport&)> end;
  std::function<void(net::Transport&)> drained;
  std::function<void(net::Transport&, const Error&)> lost;
  std::function<bool()> owes;
  std::function<void(net::Transport&)> stop;
};

class ScriptedProtocol final : public net::Protocol {
 public:
  explicit ScriptedProtocol(const Script& script) : script_(script) {}

  void connection_made() override {
    if (script_.made) script_.made(transport());
  }
  void data_received(std::string_view data) override {
    if (script_.data) script_.data(transport(), data);
  }
  void data_forwarded(std::size_t bytes) override {
    if (script_.forwarded) script_.forwarded(transport(), bytes);
  }
  void end_received() override {
    if (script_.end) script_.end(transport());
    else net::Protocol::end_received();
  }
  void output_drained() override {
    if (script_.drained) script_.drained(transport());
  }
  void connection_lost(const Error& reason) override {
    if (script_.lost) script_.lost(transport(), reason);
  }
  void before_stop() override {
    if (script_.stop) script_.stop(transport());
  }
  [[nodiscard]] bool owes_answer() const override { return script_.owes && script_.owes(); }

 private:
  const Script& script_;
};

/// Gives every connection the same script, which may change while they live.
class ScriptedFactory final : public net::Factory {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    ++built;
    return std::make_unique<ScriptedProtocol>(script);
  }
  Script script;
  int built = 0;
};

/// Sends back what it receives.
[[nodiscard]] Script echo_script();

/// A listener on a free port of 127.0.0.1, or on another endpoint.
class Server {
 public:
  Server(Loop& loop, net::Factory& factory, net::ListenerLimits limits = {},
         const std::string& endpoint = "tcp:0:interface=127.0.0.1");

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] net::Listener& listener() { return *listener_; }
  [[nodiscard]] const net::ConnectionCounts& counts() { return listener_->connections().counts(); }
  /// Ends the listener and its connections at once.
  void drop() { listener_.reset(); }

 private:
  std::uint16_t port_ = 0;
  std::unique_ptr<net::Listener> listener_;
};

/// The port of a listening TCP socket.
[[nodiscard]] std::uint16_t port_of(int fd);

/// The other end of a connection. Never blocks, so that one thread can play both sides.
class Peer {
 public:
  explicit Peer(Fd fd);
  static Peer tcp(std::uint16_t port);
  static Peer unix_socket(const std::string& path);

  /// Hands the kernel what it takes of `bytes` now; returns how much that was.
  std::size_t send_some(std::string_view bytes);
  /// REQUIRES: the kernel takes all of it.
  void send(std::string_view bytes);
  void finish_sending();
  /// Takes in what is there, at most `bytes_max`. Returns how much that was.
  std::size_t read_now(std::size_t bytes_max = std::size_t{1} << 20);

  /// Everything that was read, since the last take_received().
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] std::string take_received() { return std::exchange(received_, {}); }
  /// Whether the stream's end was read.
  [[nodiscard]] bool ended() const { return ended_; }
  /// The errno that reading met, ECONNRESET after a reset; 0 without one.
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] bool gone() const { return ended_ || error_ != 0; }

  /// Ends with a reset.
  void reset();
  void close() { fd_.reset(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  std::string received_;
  bool ended_ = false;
  int error_ = 0;
};

/// Whether a port of 127.0.0.1 takes connections.
[[nodiscard]] bool can_connect(std::uint16_t port);

/// A stream on one end of a socket pair, owned by hand instead of by a ConnectionSet.
class LoneStream final : private net::StreamOwner {
 public:
  /// `type`: SOCK_STREAM, or SOCK_SEQPACKET to see each system call as one packet.
  LoneStream(Loop& loop, const Script& script, int type);
  LoneStream(Loop& loop, const Script& script);
  LoneStream(const LoneStream&) = delete;
  LoneStream& operator=(const LoneStream&) = delete;
  ~LoneStream();

  [[nodiscard]] net::StreamTransport& stream() { return *stream_; }
  [[nodiscard]] Peer& peer() { return *peer_; }
  void drop() { stream_.reset(); }

  int active = 0;  ///< how often bytes were said to have moved
  int ended = 0;   ///< how often the end was told

 private:
  void stream_active(net::StreamTransport&) override { ++active; }
  void stream_ended(net::StreamTransport&) override { ++ended; }
  [[nodiscard]] const std::string& service() const override { return service_; }

  std::string service_ = "lone";
  std::unique_ptr<net::StreamTransport> stream_;
  std::unique_ptr<Peer> peer_;
};

/// How a child process ended.
struct ChildEnd {
  int code = -1;    ///< exit code, or -1
  int signal = 0;   ///< what killed it, or 0
  std::string err;  ///< what it wrote to standard error
};

/// Runs `code` in a child process of its own and then exits it with 0; SIGALRM ends one that hangs.
[[nodiscard]] ChildEnd in_child(const std::function<void()>& code);

/// `size` bytes in which every place is recognisable.
[[nodiscard]] std::string numbered_bytes(std::size_t size);

}  // namespace tap::tests
