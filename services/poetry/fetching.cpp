#include "services/poetry/fetching.hpp"

#include <utility>

#include "services/units.hpp"

namespace tap::services {

Fetching::Fetching(net::Reactor& reactor, Limits limits, net::DeferredSource<std::string> answer)
    : reactor_(reactor), limits_(limits), answer_(std::move(answer)) {}

void Fetching::connection_made() {
  answer_.on_cancel([this] { transport().abort_connection(); });
  wait();
}

void Fetching::wait() {
  silence_ = reactor_.call_later(limits_.silence_ms_max, [this] {
    fail({Fault::temporary, "not a byte came for " + duration_text(limits_.silence_ms_max)});
  });
}

void Fetching::data_received(std::string_view data) {
  if (data.size() > limits_.bytes_max - poem_.size()) {
    fail({Fault::unavailable, "the poem has more than " + size_text(limits_.bytes_max)});
    return;
  }
  poem_.append(data);
  wait();
}

void Fetching::end_received() {
  silence_.cancel();
  transport().lose_connection();
  if (answer_.waited_for()) answer_.callback(std::exchange(poem_, {}));
}

void Fetching::connection_lost(const Error& reason) {
  silence_.cancel();
  if (!answer_.waited_for()) return;
  answer_.errback(Error{Fault::unavailable,
                        "the poem broke off after " + std::to_string(poem_.size()) + " bytes: " + reason.message});
}

void Fetching::fail(Error why) {
  silence_.cancel();
  transport().abort_connection();
  if (answer_.waited_for()) answer_.errback(std::move(why));
}

}  // namespace tap::services
