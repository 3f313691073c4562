#include "services/service_group.hpp"

#include "state/base/assert.hpp"

namespace tap::services {

void ServiceGroup::take(std::unique_ptr<Part> part) {
  TAP_ASSERT(started_ == 0 && part != nullptr);
  parts_.push_back(std::move(part));
}

Result<void> ServiceGroup::start(net::Reactor& reactor) {
  TAP_ASSERT(started_ == 0);
  reactor_ = &reactor;
  account_ = reactor.charged();
  for (const auto& part : parts_) {
    Result<void> result;
    const bool returned = reactor.guarded(account_, [&] { result = part->start(reactor); });
    if (!returned) result = Error{Fault::internal, "it threw an exception"};
    if (!result) {
      stop();
      return std::move(result.error()).with(part->name());
    }
    ++started_;
  }
  return {};
}

void ServiceGroup::stop() {
  while (started_ > 0) {
    Part& part = *parts_[--started_];
    reactor_->guarded(account_, [&part] { part.stop(); });
  }
}

std::vector<std::string> ServiceGroup::status() const {
  std::vector<std::string> lines;
  for (const auto& part : parts_) {
    for (const std::string& line : part->status()) lines.push_back(name_ + ": " + line);
  }
  return lines;
}

}  // namespace tap::services
