// ServiceGroup: parts that start in order and stop in reverse (Twisted's MultiService). Groups may hold groups.
//
// Tests: tests/services/service_group_test.cpp
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/part.hpp"

namespace tap::services {

/// Thread: the loop's. Owns its parts.
class ServiceGroup final : public Part {
 public:
  explicit ServiceGroup(std::string name) : name_(std::move(name)) {}
  ~ServiceGroup() override { stop(); }

  /// REQUIRES: the group is not started. The part is the group's; the reference is for whoever made it.
  template <class Member, class... Arguments>
  Member& add(Arguments&&... arguments) {
    auto part = std::make_unique<Member>(std::forward<Arguments>(arguments)...);
    Member& added = *part;
    take(std::move(part));
    return added;
  }
  void take(std::unique_ptr<Part> part);

  [[nodiscard]] const std::string& name() const override { return name_; }
  /// Starts the parts in the order they were added. When one fails, or throws, what had started is stopped, last first,
  /// and the error names it, through all groups: "inner: part: why".
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  /// Last first. A part that throws is said and counted, and the others are stopped.
  void stop() override;
  /// Of all parts, each line with the group's name before it.
  [[nodiscard]] std::vector<std::string> status() const override;

 private:
  std::string name_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::size_t started_ = 0;  ///< parts_[0, started_) have been started and not stopped
  net::Reactor* reactor_ = nullptr;
  net::Reactor::Account account_ = 0;
};

}  // namespace tap::services
