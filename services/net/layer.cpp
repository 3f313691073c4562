#include "services/net/layer.hpp"

#include <exception>

#include "services/net/refusal.hpp"

namespace tap::net {

/// As StreamTransport's door, and in its words; the layer may have more to say at an end than the stream would.
template <class Code>
void Layer::call_above(Code&& code) {
  try {
    code();
  } catch (const Refusal&) {
    lose_connection();
  } catch (const std::exception& thrown) {
    place_.reactor.count_exception(place_.reactor.charged());
    transport().fail(std::string("the protocol threw: ") + thrown.what());
  } catch (...) {
    place_.reactor.count_exception(place_.reactor.charged());
    transport().fail("the protocol threw something that is no exception");
  }
}

bool Layer::open_above() {
  TAP_ASSERT(above_ == nullptr);
  deadline_.cancel();
  const bool returned = place_.reactor.guarded(place_.service, [this] { above_ = place_.above.build_protocol(); });
  if (!returned) place_.reactor.count_exception(place_.reactor.charged());
  if (above_ == nullptr) {
    transport().abort_connection();
    return false;
  }
  Transport& seen_from_above = *this;
  above_->attach(seen_from_above);
  call_above([this] { above_->connection_made(); });
  return true;
}

void Layer::deliver(std::string_view data) {
  TAP_ASSERT(!paused_);
  if (ending()) return;
  call_above([&] { above_->data_received(data); });
}

void Layer::deliver_end() {
  if (paused_) {
    end_due_ = true;
    return;
  }
  if (above_ != nullptr && !ending()) call_above([this] { above_->end_received(); });
}

void Layer::data_received(std::string_view data) {
  if (held_.empty()) {
    consume(data);
    held_ = data;
    return;
  }
  held_ += data;
  if (!going_on_.active()) go_on();
}

void Layer::go_on() {
  const std::string whole = std::exchange(held_, std::string());
  std::string_view rest = whole;
  consume(rest);
  held_ = rest;
  if (end_due_ && !paused_ && held_.empty()) {
    end_due_ = false;
    deliver_end();
  }
}

void Layer::end_received() { deliver_end(); }

void Layer::output_drained() {
  if (above_ != nullptr) call_above([this] { above_->output_drained(); });
}

void Layer::service_stops() {
  if (above_ != nullptr) call_above([this] { above_->service_stops(); });
}

void Layer::before_stop() {
  if (above_ != nullptr) call_above([this] { above_->before_stop(); });
}

void Layer::connection_lost(const Error& reason) {
  deadline_.cancel();
  going_on_.cancel();
  held_.clear();
  if (above_ != nullptr) call_above([&] { above_->connection_lost(loss_ ? *loss_ : reason); });
}

void Layer::pause_reading() {
  paused_ = true;
  transport().pause_reading();
}

/// What was held comes in a turn of its own, never from inside this call.
void Layer::resume_reading() {
  if (!paused_) return;
  paused_ = false;
  if (held_.empty() && !end_due_) {
    transport().resume_reading();
    return;
  }
  // What is held goes first: a protocol that pauses after each piece would otherwise let it grow with every read.
  going_on_ = place_.reactor.call_later(0, [this] {
    if (paused_) return;
    go_on();
    if (!paused_) transport().resume_reading();
  });
}

void Layer::expect_within(std::uint64_t ms, std::string why) {
  deadline_ = place_.reactor.call_later(ms, [this, why = std::move(why)] { transport().fail(why); });
}

void Layer::say_closed(std::string_view why) {
  place_.reactor.log().write(LogLevel::warning, place_.service,
                             "connection of " + peer() + " closed: " + std::string(why));
}

}  // namespace tap::net
