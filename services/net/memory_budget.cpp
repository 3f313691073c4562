#include "services/net/memory_budget.hpp"

#include <malloc.h>

#include <algorithm>
#include <string>

#include "services/net/stream.hpp"

namespace tap::net {
namespace {

constexpr char kWho[] = "memory";

}  // namespace

MemoryBudget::MemoryBudget(Reactor& reactor, std::size_t bytes_max)
    : reactor_(reactor), bytes_max_(bytes_max), look_at_(eighths(kStopEighths)) {}

void MemoryBudget::leave(BudgetMember& member) {
  members_.erase(std::remove(members_.begin(), members_.end(), &member), members_.end());
}

void MemoryBudget::changed(std::ptrdiff_t bytes) {
  used_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(used_) + bytes);
  if (used_ <= look_at_) return;
  look_at_ = used_ + bytes_max_ / 16;
  // From a turn of its own: whoever tells us of bytes is in the middle of something.
  looking_ = reactor_.call_later(0, [this] { look(); });
}

void MemoryBudget::look() {
  std::vector<StreamTransport*> streams;
  for (BudgetMember* member : members_) {
    member->each_stream([&](StreamTransport& stream) {
      if (stream.budgeted_bytes() != 0 || stream.stopped_for_budget()) streams.push_back(&stream);
    });
  }
  // It may have been short for less than a turn; then nobody needs to hear of it.
  if (used_ <= eighths(short_ ? kCalmEighths : kStopEighths)) {
    for (StreamTransport* stream : streams) stream->stop_for_budget(false);
    look_at_ = eighths(kStopEighths);
    if (!std::exchange(short_, false)) return;
    ::malloc_trim(0);  // what thousands of buffers have left in pieces would stay ours otherwise (malloc_trim(3))
    reactor_.log().write(LogLevel::info, kWho, "connections hold less than half of the budget again, all are read");
    return;
  }
  if (!std::exchange(short_, true)) {
    ++shortages_;
    reactor_.log().write(LogLevel::warning, kWho,
                         "connections hold " + std::to_string(used_) + " of " + std::to_string(bytes_max_) +
                             " bytes: those that hold most are not read for now (memory_budget)");
  }
  std::sort(streams.begin(), streams.end(), [](const StreamTransport* a, const StreamTransport* b) {
    return a->budgeted_bytes() > b->budgeted_bytes();
  });
  stop_largest(streams);
  end_largest(streams);
  look_at_ = used_ + bytes_max_ / 16;
  looking_ = reactor_.call_later(kLookMs, [this] { look(); });
}

void MemoryBudget::stop_largest(const std::vector<StreamTransport*>& largest_first) const {
  std::size_t read_ones = used_;
  for (StreamTransport* stream : largest_first) {
    const bool stop = read_ones > eighths(kCalmEighths);
    if (stop) read_ones -= std::min<std::size_t>(read_ones, stream->budgeted_bytes());
    stream->stop_for_budget(stop);
  }
}

void MemoryBudget::end_largest(const std::vector<StreamTransport*>& largest_first) {
  for (StreamTransport* stream : largest_first) {
    if (used_ <= bytes_max_) return;
    ++ended_;
    stream->fail("the budget of " + std::to_string(bytes_max_) + " bytes is used up, and it holds " +
                 std::to_string(stream->budgeted_bytes()) + " (memory_budget)");
  }
}

}  // namespace tap::net
