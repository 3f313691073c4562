// StreamTransport: one TCP or UNIX connection on the loop.
//
// Tests: tests/services/net/stream_test.cpp
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/net/gate.hpp"
#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"
#include "services/net/stream_policy.hpp"
#include "state/base/fd.hpp"

struct uv_stream_s;

namespace tap::net {

class StreamTransport;

/// What a transport tells the one that owns it. Every call may come from deep inside; the owner acts later.
class StreamOwner {
 public:
  /// Bytes went one way or the other.
  virtual void stream_active(StreamTransport& stream) = 0;
  /// The stream has let go of its handle and will call nobody any more but connection_lost().
  virtual void stream_ended(StreamTransport& stream) = 0;
  /// The name of the service, for the log.
  [[nodiscard]] virtual const std::string& service() const = 0;
  /// What its output waits for; nullptr: for nothing. Lifetime: outlives the stream.
  [[nodiscard]] virtual Gate* gate() const { return nullptr; }
  [[nodiscard]] virtual const StreamRules& rules() const;
  /// As Transport says them.
  virtual void request_begins(StreamTransport& stream) { (void)stream; }
  virtual void request_ends(StreamTransport& stream) { (void)stream; }
  /// The kernel did not take all of the output.
  virtual void output_waits(StreamTransport& stream) { (void)stream; }

 protected:
  ~StreamOwner() = default;
};

enum class StreamKind { tcp, unix_socket };

/// Thread:     the loop's.
/// Lifetime:   owned by a ConnectionSet; the reactor, the owner and the factory outlive it. The libuv handle lives in a
///             box of its own that the loop frees, so this object may go at any time.
/// Invariants: at most one uv_write is under way; what is written meanwhile waits in out_.
class StreamTransport final : public Transport, private Flushable, private GateWaiter {
 public:
  /// Above this much unsent output reading pauses, unless the owner's rules say otherwise; at a quarter of it,
  /// it goes on.
  static constexpr std::size_t kHighWaterBytes = kWriteBufferBytes;
  /// A write that the kernel does not take at once goes on in pieces of this size.
  static constexpr std::size_t kPieceBytesMax = std::size_t{64} * 1024;
  /// Above this much the connection is failed: its protocol does not ask congested().
  static constexpr std::size_t kUnsentBytesMax = std::size_t{16} * 1024 * 1024;
  /// Forwarding begins when one read has filled the receive buffer, and ends when less than this came at once.
  static constexpr std::size_t kForwardBytesMin = std::size_t{16} * 1024;

  StreamTransport(Reactor& reactor, StreamOwner& owner);
  ~StreamTransport() override;

  /// Takes over a connected socket, or accepts one from a listening handle. Errors: internal.
  [[nodiscard]] Result<void> open(Fd socket, StreamKind kind);
  [[nodiscard]] Result<void> accept(uv_stream_s* listener, StreamKind kind);
  /// Attaches the protocol and starts reading. REQUIRES: open() or accept() succeeded.
  void start(std::unique_ptr<Protocol> protocol);

  void write(std::string_view bytes) override;
  [[nodiscard]] Result<std::size_t> write_file(int file, std::uint64_t offset, std::size_t bytes) override;
  void lose_connection() override;
  void lose_write_connection() override;
  void abort_connection() override;
  void fail(std::string_view why) override;
  void pause_reading() override;
  void resume_reading() override;
  void read_while_congested(bool wanted) override;
  void require_clean_end() override;
  void forward_to(Transport* to) override;
  [[nodiscard]] StreamTransport* plain_stream() override { return this; }
  [[nodiscard]] bool congested() override;
  [[nodiscard]] bool ending() const override { return phase_ != Phase::open; }
  [[nodiscard]] std::string peer() const override;
  void request_begins() override;
  void request_ends() override;
  /// Whether the peer has taken bytes since the last call that the kernel held for it: with large socket buffers a
  /// slow reader makes progress long before we may write again. REQUIRES: not over().
  [[nodiscard]] bool peer_took_bytes();
  /// Whether it has ended and only waits for its owner.
  [[nodiscard]] bool over() const { return phase_ == Phase::ended; }

  /// For a stop: reads no more, answers what was received, sends it, ends.
  void drain();
  /// connection_lost(), once, after stream_ended(): called by the owner from its own turn.
  void tell_protocol_lost();

  [[nodiscard]] std::size_t unsent_bytes() const { return out_.size() - out_sent_ + writing_bytes_; }
  /// Whether output, or the end of it, waits for the gate: then it is not the peer who is slow.
  [[nodiscard]] bool held() const { return !marks_.empty(); }

  // For rates, deadlines and the budget: stream_policy.cpp.
  [[nodiscard]] StreamPolicy& policy();  ///< made when it is first asked for
  [[nodiscard]] bool has_policy() const { return policy_ != nullptr; }
  /// Whether it is the peer's turn: more is unsent than the write buffer, or all that is left is to be sent.
  [[nodiscard]] bool awaits_peer() const;
  /// Whether the peer, or the kernel for it, has taken bytes since the last call with this policy.
  [[nodiscard]] bool peer_made_progress(StreamPolicy& policy);
  /// Whether reading waits for its rate: then it is not the peer who is idle.
  [[nodiscard]] bool rate_paused() const { return rate_paused_; }
  void stop_for_budget(bool stop);
  [[nodiscard]] bool stopped_for_budget() const { return budget_stopped_; }
  [[nodiscard]] std::size_t budgeted_bytes() const { return budgeted_bytes_; }
  /// REQUIRES: open(), accept() or start() succeeded.
  [[nodiscard]] int fd() const { return fd_; }

  // For the owner only: its place in the owner's list, and when bytes last moved.
  std::list<std::unique_ptr<StreamTransport>>::iterator place;
  std::uint64_t active_ms = 0;

 private:
  enum class Phase : std::uint8_t {
    open,
    finishing,  ///< no more reading; ends when everything is sent
    ended,      ///< the handle has been let go
  };
  struct Box;
  struct WriteRequest;
  struct Ending {
    Error reason;
    std::string peer;  ///< the handle cannot be asked any more
  };
  /// The output from `begin` on, counted from the first byte of the connection, waits for this position of the gate.
  struct Mark {
    std::uint64_t begin;
    std::uint64_t position;
  };

  [[nodiscard]] Result<void> make_box(StreamKind kind);
  void flush() override;
  void gate_passed() override;
  void mark();
  [[nodiscard]] std::size_t sendable();
  [[nodiscard]] ssize_t send_now(const char* bytes, std::size_t size) const;
  [[nodiscard]] bool send_before_file();
  [[nodiscard]] Result<std::size_t> send_file(int file, std::uint64_t offset, std::size_t bytes);
  void account_held();
  void send_piece(std::size_t bytes_max);
  void written(std::size_t bytes, int status);
  void received(std::string_view data);
  [[nodiscard]] bool had_its_turn() const;
  /// Whether libuv shall not read: something else is done with what is there, or later.
  [[nodiscard]] bool takes_no_bytes() const { return may_forward() || had_its_turn(); }
  [[nodiscard]] bool may_forward() const;
  [[nodiscard]] bool takes_forwarded() const;
  void forward();
  [[nodiscard]] std::size_t take_forwarded(SplicePipe& pipe, std::size_t bytes);
  void read_failed(int status);
  void after_output();
  void end_drained();
  void linger_hard(bool hard) const;
  void update_reading();
  [[nodiscard]] bool should_throttle();
  void end_throttle();
  void end(Error reason);
  void end_gently(std::string_view why);
  void end_badly(std::string_view why);
  void flush_at_turn_end();
  [[nodiscard]] TokenBucket& own_rate();
  [[nodiscard]] std::size_t readable_now();
  void spend_rate(std::size_t bytes);
  void wait_to_read();
  [[nodiscard]] std::size_t buffered_bytes() const;
  void account_buffers();
  template <class Code>
  void call_protocol(Code&& code);

  // In this order there is no gap: there may be many of these, and most are idle.
  Reactor& reactor_;
  StreamOwner& owner_;
  const StreamRules& rules_;
  std::unique_ptr<StreamPolicy> policy_;
  Box* box_ = nullptr;
  std::unique_ptr<Protocol> protocol_;
  std::string out_;
  StreamTransport* forward_to_ = nullptr;
  Gate* gate_;                 ///< nullptr: nothing is held
  std::vector<Mark> marks_;    ///< at most a few: what belongs to one batch has one mark
  std::uint64_t out_end_ = 0;  ///< bytes ever written to out_: where its end is, counted as marks are
  std::unique_ptr<Ending> ending_;
  int fd_ = -1;                       ///< the handle's; valid as long as box_ is there
  std::uint32_t out_sent_ = 0;        ///< of out_, from its beginning
  std::uint32_t writing_bytes_ = 0;   ///< at most kPieceBytesMax
  std::uint32_t held_accounted_ = 0;  ///< what the gate was told that we hold
  std::uint32_t budgeted_bytes_ = 0;  ///< what the budget was told that we hold
  std::uint32_t full_turn_ = 0;       ///< the last turn in which a read filled the buffer
  int kernel_unsent_ = 0;             ///< SIOCOUTQ (tcp(7), unix(7)) when last looked at
  Phase phase_ = Phase::open;
  bool dirty_ = false;
  bool waiting_ = false;  ///< for the gate
  bool reading_ = false;
  bool reading_wanted_ = true;
  bool rate_paused_ : 1 = false;     ///< reading waits for its rate
  bool budget_stopped_ : 1 = false;  ///< reading waits until there is memory
  bool throttled_ : 1 = false;       ///< reading is paused because the peer does not read, or too much is held
  bool read_while_congested_ : 1 = false;
  bool forward_due_ : 1 = false;   ///< there is so much to read that forwarding it pays
  bool file_waits_ : 1 = false;    ///< a file has more than the peer takes
  bool drain_wanted_ : 1 = false;  ///< the protocol was told that it is congested
  bool read_ended_ : 1 = false;
  bool half_close_wanted_ : 1 = false;
  bool half_closed_ : 1 = false;
  bool draining_ : 1 = false;
  bool stop_told_ : 1 = false;
  bool aborted_ : 1 = false;
  bool clean_end_required_ : 1 = false;
};

}  // namespace tap::net
