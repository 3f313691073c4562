#include "services/net/stream_deadlines.hpp"

#include <algorithm>

#include "services/net/stream.hpp"

namespace tap::net {
namespace {

/// A slow reader is looked at so often within its time: it is ended at most a quarter later than asked.
constexpr std::uint64_t kLooksPerTimeout = 4;

}  // namespace

void StreamDeadlines::request_begins(StreamTransport& stream) {
  if (limits_.request_timeout_ms == 0 || stream.over()) return;
  StreamPolicy& policy = stream.policy();
  if (policy.among_requests) return;
  policy.request_due_ms = reactor_.now_ms() + limits_.request_timeout_ms;
  policy.among_requests = requests_.insert(requests_.end(), &stream);
  watch_requests();
}

void StreamDeadlines::request_ends(StreamTransport& stream) {
  if (!stream.has_policy()) return;
  StreamPolicy& policy = stream.policy();
  if (!policy.among_requests) return;
  requests_.erase(*policy.among_requests);
  policy.among_requests.reset();
}

void StreamDeadlines::output_waits(StreamTransport& stream) {
  if (limits_.slow_reader_timeout_ms == 0 || !stream.awaits_peer()) return;
  StreamPolicy& policy = stream.policy();
  if (policy.among_readers) return;
  (void)stream.peer_made_progress(policy);  // from here on it counts
  policy.progress_ms = reactor_.now_ms();
  policy.among_readers = readers_.insert(readers_.end(), &stream);
  watch_readers();
}

void StreamDeadlines::forget(StreamTransport& stream) {
  if (!stream.has_policy()) return;
  request_ends(stream);
  StreamPolicy& policy = stream.policy();
  if (!policy.among_readers) return;
  readers_.erase(*policy.among_readers);
  policy.among_readers.reset();
}

void StreamDeadlines::watch_requests() {
  if (requests_.empty() || requests_watch_.active()) return;
  const std::uint64_t due = requests_.front()->policy().request_due_ms;
  const std::uint64_t now = reactor_.now_ms();
  requests_watch_ = reactor_.call_later(due - std::min(due, now), [this] { end_late_requests(); });
}

void StreamDeadlines::end_late_requests() {
  const std::uint64_t now = reactor_.now_ms();
  while (!requests_.empty() && requests_.front()->policy().request_due_ms <= now) {
    StreamTransport& late = *requests_.front();
    request_ends(late);
    ++timed_out_;
    late.fail("its request is not complete after " + std::to_string(limits_.request_timeout_ms) +
              " ms (request_timeout)");
  }
  watch_requests();
}

void StreamDeadlines::watch_readers() {
  if (readers_.empty() || readers_watch_.active()) return;
  const std::uint64_t look_ms = std::max<std::uint64_t>(limits_.slow_reader_timeout_ms / kLooksPerTimeout, 1);
  readers_watch_ = reactor_.call_later(look_ms, [this] { look_at_readers(); });
}

void StreamDeadlines::look_at_readers() {
  const std::uint64_t now = reactor_.now_ms();
  for (auto next = readers_.begin(); next != readers_.end();) {
    StreamTransport& stream = **next++;
    StreamPolicy& policy = stream.policy();
    if (!stream.awaits_peer()) {
      readers_.erase(*policy.among_readers);
      policy.among_readers.reset();
    } else if (stream.peer_made_progress(policy) || stream.held()) {
      policy.progress_ms = now;
    } else if (policy.progress_ms + limits_.slow_reader_timeout_ms <= now) {
      ++timed_out_;
      stream.fail("it has taken nothing for " + std::to_string(now - policy.progress_ms) + " ms while " +
                  std::to_string(stream.unsent_bytes()) + " bytes wait for it (slow_reader_timeout)");
    }
  }
  watch_readers();
}

}  // namespace tap::net
