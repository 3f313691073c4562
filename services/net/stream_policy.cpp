// The part of StreamTransport that rates, deadlines and the memory budget ask for.
#include "services/net/stream_policy.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <limits>

#include "services/net/memory_budget.hpp"
#include "services/net/stream.hpp"

namespace tap::net {
namespace {

/// A connection that has used up its rate waits for so much of a second's worth: few wake-ups, small steps.
constexpr std::uint64_t kStepsPerSecond = 10;

/// What is read at once from a connection that holds nothing while memory is short.
constexpr std::size_t kShortReadBytes = 4096;

std::uint64_t step_of(const TokenBucket& bucket) {
  return std::max<std::uint64_t>(bucket.per_second() / kStepsPerSecond, 1);
}

}  // namespace

const StreamRules& StreamOwner::rules() const {
  static const StreamRules none;
  return none;
}

StreamPolicy& StreamTransport::policy() {
  if (policy_ == nullptr) policy_ = std::make_unique<StreamPolicy>();
  return *policy_;
}

TokenBucket& StreamTransport::own_rate() {
  TokenBucket& reads = policy().reads;
  if (!reads.limited() && rules_.read_rate != 0) reads = TokenBucket(rules_.read_rate, rules_.read_rate);
  return reads;
}

std::size_t StreamTransport::readable_now() {
  std::uint64_t most = Reactor::kReceiveBytesMax;
  // Between two looks of the budget at everybody: who holds something waits, a small request of others is read.
  if (rules_.budget != nullptr && rules_.budget->stopping()) most = budgeted_bytes_ == 0 ? kShortReadBytes : 0;
  if (!rules_.rated()) return most;
  const std::uint64_t now = reactor_.now_ms();
  if (rules_.read_rate != 0) most = std::min(most, own_rate().available(now));
  if (rules_.read_total != nullptr) most = std::min(most, rules_.read_total->available(now));
  return most;
}

void StreamTransport::spend_rate(std::size_t bytes) {
  const std::uint64_t now = reactor_.now_ms();
  if (rules_.read_rate != 0) own_rate().take(bytes, now);
  if (rules_.read_total != nullptr) rules_.read_total->take(bytes, now);
}

void StreamTransport::wait_to_read() {
  if (rules_.budget != nullptr && rules_.budget->stopping() && budgeted_bytes_ != 0) {
    stop_for_budget(true);  // until the budget has looked
    return;
  }
  const std::uint64_t now = reactor_.now_ms();
  std::uint64_t wait_ms = 1;
  if (rules_.read_rate != 0) wait_ms = std::max(wait_ms, own_rate().ms_until(step_of(own_rate()), now));
  if (rules_.read_total != nullptr) {
    wait_ms = std::max(wait_ms, rules_.read_total->ms_until(step_of(*rules_.read_total), now));
  }
  rate_paused_ = true;
  update_reading();
  policy().reading_again = reactor_.call_later(wait_ms, [this] {
    rate_paused_ = false;
    owner_.stream_active(*this);  // it was us who made it wait
    update_reading();
  });
}

void StreamTransport::request_begins() { owner_.request_begins(*this); }

void StreamTransport::request_ends() { owner_.request_ends(*this); }

bool StreamTransport::awaits_peer() const {
  return phase_ != Phase::ended && unsent_bytes() != 0 &&
         (phase_ == Phase::finishing || unsent_bytes() > rules_.write_buffer_bytes);
}

bool StreamTransport::peer_made_progress(StreamPolicy& policy) {
  int unsent = 0;
  if (fd_ < 0 || ::ioctl(fd_, SIOCOUTQ, &unsent) != 0) unsent = policy.kernel_unsent;
  const bool kernel_moved = std::exchange(policy.kernel_unsent, unsent) != unsent;
  const std::uint64_t taken = out_end_ - unsent_bytes();
  return std::exchange(policy.taken_bytes, taken) != taken || kernel_moved;
}

void StreamTransport::stop_for_budget(bool stop) {
  if (budget_stopped_ == stop) return;
  budget_stopped_ = stop;
  update_reading();
}

/// Memory, not bytes: a buffer that has been large stays so until it is given back.
std::size_t StreamTransport::buffered_bytes() const {
  const std::size_t out = out_.capacity() > std::string().capacity() ? out_.capacity() : 0;
  return out + writing_bytes_ + (protocol_ == nullptr ? 0 : protocol_->buffered_bytes());
}

void StreamTransport::account_buffers() {
  if (rules_.budget == nullptr) return;
  const std::size_t most = std::numeric_limits<std::uint32_t>::max();
  const auto now = static_cast<std::uint32_t>(phase_ == Phase::ended ? 0 : std::min(most, buffered_bytes()));
  if (now == budgeted_bytes_) return;
  const auto change = static_cast<std::ptrdiff_t>(now) - static_cast<std::ptrdiff_t>(budgeted_bytes_);
  budgeted_bytes_ = now;
  rules_.budget->changed(change);
}

}  // namespace tap::net
