#include "services/testing/transport_pair.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

#include "services/net/refusal.hpp"

namespace tap::testing {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

TransportPair::Side other(TransportPair::Side side) {
  return side == TransportPair::Side::server ? TransportPair::Side::client : TransportPair::Side::server;
}

}  // namespace

class TransportPair::End final : public net::Transport {
 public:
  enum class Phase : std::uint8_t { open, finishing, aborting, over };

  explicit End(std::unique_ptr<net::Protocol> its) : protocol(std::move(its)) { protocol->attach(*this); }

  void write(std::string_view bytes) override {
    if (phase == Phase::open && !half_closing) out.append(bytes);
  }
  void lose_connection() override {
    if (phase == Phase::open) phase = Phase::finishing;
  }
  void lose_write_connection() override { half_closing = true; }
  void abort_connection() override {
    if (phase != Phase::over) phase = Phase::aborting;
  }
  void fail(std::string_view why) override {
    failure = why;
    abort_connection();
  }
  void pause_reading() override { reading = false; }
  void resume_reading() override { reading = true; }
  void read_while_congested(bool wanted) override { reads_congested = wanted; }
  [[nodiscard]] bool congested() override {
    if (out.size() > kHighWaterBytes) drain_wanted = true;
    return out.size() > kHighWaterBytes;
  }
  [[nodiscard]] bool ending() const override { return phase != Phase::open; }
  [[nodiscard]] std::string peer() const override { return "a test"; }

  /// A real transport reads no more from a peer that takes no answers.
  [[nodiscard]] bool takes() const {
    return phase == Phase::open && reading && !stopped && (reads_congested || out.size() <= kHighWaterBytes);
  }

  /// The door to the protocol: what comes out of it ends this connection.
  template <class Code>
  void call(Code&& code) {
    try {
      code(*protocol);
    } catch (const net::Refusal&) {
      lose_connection();
    } catch (const std::exception& thrown) {
      fail(std::string("the protocol threw: ") + thrown.what());
    } catch (...) {
      fail("the protocol threw something that is no exception");
    }
  }
  void lose(const std::string& why) {
    if (phase == Phase::over) return;
    phase = Phase::over;
    out.clear();
    call([&why](net::Protocol& it) { it.connection_lost(Error{Fault::unavailable, why}); });
  }

  std::unique_ptr<net::Protocol> protocol;
  std::string out;
  std::string failure;
  Phase phase = Phase::open;
  std::uint64_t delivered = 0;
  std::uint64_t lost_after = kNever;
  bool reading = true;
  bool reads_congested = false;
  bool stopped = false;
  bool drain_wanted = false;
  bool half_closing = false;
  bool end_told = false;  // the other end knows that nothing more comes
};

TransportPair::TransportPair(std::unique_ptr<net::Protocol> server, std::unique_ptr<net::Protocol> client) {
  if (client == nullptr) {
    auto played = std::make_unique<PlayedPeer>();
    peer_ = played.get();
    client = std::move(played);
  }
  ends_[0] = std::make_unique<End>(std::move(server));
  ends_[1] = std::make_unique<End>(std::move(client));
  for (const auto& each : ends_) each->call([](net::Protocol& it) { it.connection_made(); });
}

TransportPair::~TransportPair() { lose_both("the test is over"); }

PlayedPeer& TransportPair::peer() {
  TAP_ASSERT(peer_ != nullptr);
  return *peer_;
}

net::Transport& TransportPair::transport(Side side) { return end(side); }

void TransportPair::lose_after(Side from, std::uint64_t bytes) { end(from).lost_after = bytes; }

void TransportPair::stop_reading(Side side, bool stopped) { end(side).stopped = stopped; }

std::size_t TransportPair::waiting(Side from) const { return end(from).out.size(); }

std::uint64_t TransportPair::delivered(Side from) const { return end(from).delivered; }

bool TransportPair::over(Side side) const { return end(side).phase == End::Phase::over; }

const std::string& TransportPair::failure(Side side) const { return end(side).failure; }

void TransportPair::lose_both(const std::string& why) {
  for (const auto& each : ends_) each->lose(why);
}

bool TransportPair::step() {
  for (const Side from : {next_, other(next_)}) {
    if (!deliver(from)) continue;
    next_ = other(from);
    return true;
  }
  return false;
}

bool TransportPair::run(int steps_max) {
  for (int i = 0; i < steps_max; ++i) {
    if (!step()) return true;
  }
  return !step();
}

/// One thing that `from` has for the other end: a piece of bytes, its end, or the end of everything.
bool TransportPair::deliver(Side from) {
  End& source = end(from);
  End& target = end(other(from));
  if (source.phase == End::Phase::aborting) {
    source.lose("the connection was aborted by us");
    target.lose("connection reset by peer");
    return true;
  }
  if (source.delivered >= source.lost_after && !(over(from) && over(other(from)))) {
    lose_both("the connection was lost");
    return true;
  }
  if (!source.out.empty() && target.phase != End::Phase::open) {
    source.out.clear();  // the other end has gone, or reads no more: nobody will take it
    return true;
  }
  if (!source.out.empty() && target.takes()) {
    const std::size_t wanted = size_ ? size_(source.out.size()) : source.out.size();
    const std::uint64_t most = std::min<std::uint64_t>(source.out.size(), source.lost_after - source.delivered);
    const std::string piece = source.out.substr(0, std::clamp<std::size_t>(wanted, 1, most));
    source.out.erase(0, piece.size());
    source.delivered += piece.size();
    target.call([&piece](net::Protocol& it) { it.data_received(piece); });
    if (source.drain_wanted && source.out.size() <= kLowWaterBytes && source.phase != End::Phase::over) {
      source.drain_wanted = false;
      source.call([](net::Protocol& it) { it.output_drained(); });
    }
    return true;
  }
  if (!source.out.empty()) return false;
  const bool finished = source.phase == End::Phase::finishing;
  if (finished) source.lose("the connection was ended by us");
  const bool tells = (source.half_closing || source.phase == End::Phase::over) && !source.end_told && target.takes();
  if (tells) {
    source.end_told = true;
    target.call([](net::Protocol& it) { it.end_received(); });
    if (target.half_closing && target.out.empty()) lose_both("both sides have ended the connection");
  } else if (source.half_closing && source.end_told && target.half_closing && target.end_told &&
             target.phase == End::Phase::open) {
    lose_both("both sides have ended the connection");
    return true;
  }
  return finished || tells;
}

}  // namespace tap::testing
