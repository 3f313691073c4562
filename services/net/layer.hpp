// Layer: a protocol to the transport below it and a transport to the protocol above it.
// TLS and the PROXY header are such.
//
// Source: Twisted's policies.WrappingFactory and ProtocolWrapper.
// Tests: tests/services/net/layer_test.cpp
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "services/net/protocol.hpp"
#include "services/net/reactor.hpp"

namespace tap::net {

/// What every layer needs to know. Lifetime: outlives the layers; the reactor and the factory outlive it.
struct LayerPlace {
  Reactor& reactor;
  Factory& above;       ///< makes the protocol that the layer carries
  std::string service;  ///< for the log
};

/// Passes everything on, until a class derived from it does otherwise. The protocol above is made by open_above(), as
/// late as the layer likes: a client that does not get through a handshake costs nothing above.
///
/// Thread:     the loop's.
/// Lifetime:   owned by the transport below, as any protocol; it owns the protocol above.
/// Invariants: nothing is delivered above while it has paused reading: what was received meanwhile is held, which is
///             never more than one read from below.
/// Errors:     what the protocol above throws ends the connection, said in the words of a plain transport, and is
///             counted.
class Layer : public Protocol, protected Transport {
 public:
  explicit Layer(const LayerPlace& place) : place_(place) {}

  void data_received(std::string_view data) override;
  void end_received() override;
  void output_drained() override;
  void connection_lost(const Error& reason) override;
  void before_stop() override;
  void service_stops() override;
  [[nodiscard]] std::size_t buffered_bytes() const override {
    return held_.capacity() + (above_ != nullptr ? above_->buffered_bytes() : 0);
  }
  [[nodiscard]] bool owes_answer() const override { return above_ != nullptr && above_->owes_answer(); }

 protected:
  // The transport that the protocol above sees.
  void write(std::string_view bytes) override { transport().write(bytes); }
  void lose_connection() override { transport().lose_connection(); }
  void lose_write_connection() override { transport().lose_write_connection(); }
  void abort_connection() override { transport().abort_connection(); }
  void fail(std::string_view why) override { transport().fail(why); }
  void pause_reading() override;
  void resume_reading() override;
  void read_while_congested(bool wanted) override { transport().read_while_congested(wanted); }
  void require_clean_end() override { transport().require_clean_end(); }
  [[nodiscard]] bool congested() override { return transport().congested(); }
  [[nodiscard]] bool ending() const override { return transport().ending(); }
  [[nodiscard]] std::string peer() const override { return transport().peer(); }
  [[nodiscard]] const TlsInfo* tls() const override { return transport().tls(); }
  void request_begins() override { transport().request_begins(); }
  void request_ends() override { transport().request_ends(); }

  /// Takes from the front of `data` what it can for now; called again when more is there or reading goes on.
  /// What it leaves is kept. REQUIRES of it: while paused() nothing is delivered above.
  virtual void consume(std::string_view& data) = 0;

  /// Makes the protocol above and tells it that the connection is made. False, and the connection is aborted,
  /// when there is none.
  bool open_above();
  void deliver(std::string_view data);
  void deliver_end();
  /// Calls the protocol above. What it throws ends the connection.
  template <class Code>
  void call_above(Code&& code);

  /// Ends the connection when it is still waiting after `ms`; open_above() calls that off.
  void expect_within(std::uint64_t ms, std::string why);
  void say_closed(std::string_view why);

  [[nodiscard]] bool paused() const { return paused_; }
  [[nodiscard]] bool opened() const { return above_ != nullptr; }
  [[nodiscard]] Protocol* above() const { return above_.get(); }
  [[nodiscard]] Reactor& reactor() const { return place_.reactor; }
  /// What connection_lost() is told above, instead of what the transport below says.
  void explain_loss(Error reason) { loss_ = std::move(reason); }

 private:
  void go_on();

  const LayerPlace& place_;
  std::unique_ptr<Protocol> above_;
  std::string held_;  ///< received and not taken by consume()
  std::optional<Error> loss_;
  Timer deadline_;
  Timer going_on_;
  bool paused_ = false;
  bool end_due_ = false;  ///< the end has come while reading was paused
};

}  // namespace tap::net
