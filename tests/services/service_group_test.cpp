#include "services/service_group.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "services/timer_service.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using Calls = std::vector<std::string>;

class Told final : public Part {
 public:
  Told(Calls& calls, std::string name, std::string trouble = "")
      : calls_(calls), name_(std::move(name)), trouble_(std::move(trouble)) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Result<void> start(net::Reactor&) override {
    calls_.push_back("start " + name_);
    if (trouble_ == "fail") return Error{Fault::unavailable, "nothing to start with"};
    if (trouble_ == "throw") throw std::runtime_error("start threw");
    return {};
  }
  void stop() override {
    calls_.push_back("stop " + name_);
    if (trouble_ == "throw in stop") throw std::runtime_error("stop threw");
  }
  [[nodiscard]] std::vector<std::string> status() const override { return {name_ + " is well"}; }

 private:
  Calls& calls_;
  std::string name_;
  std::string trouble_;
};

}  // namespace

TEST_CASE("service group: parts start in order and stop last first, groups within groups too") {
  Loop loop;
  Calls calls;
  ServiceGroup group("outer");
  group.add<Told>(calls, "a");
  ServiceGroup& inner = group.add<ServiceGroup>("inner");
  inner.add<Told>(calls, "b");
  inner.add<Told>(calls, "c");
  group.add<Told>(calls, "d");
  REQUIRE(group.start(loop.reactor).ok());
  CHECK(group.status() == std::vector<std::string>{"outer: a is well", "outer: inner: b is well",
                                                   "outer: inner: c is well", "outer: d is well"});
  group.stop();
  group.stop();
  CHECK(calls == Calls{"start a", "start b", "start c", "start d", "stop d", "stop c", "stop b", "stop a"});
  calls.clear();
  REQUIRE(group.start(loop.reactor).ok());
  group.stop();
  CHECK(calls.size() == 8);
}

TEST_CASE("service group: one that cannot start stops those before it, last first, and the error leads to it") {
  for (const std::string trouble : {"fail", "throw"}) {
    CAPTURE(trouble);
    Loop loop;
    Calls calls;
    ServiceGroup group("outer");
    group.add<Told>(calls, "a");
    ServiceGroup& inner = group.add<ServiceGroup>("inner");
    inner.add<Told>(calls, "b");
    inner.add<Told>(calls, "bad", trouble);
    inner.add<Told>(calls, "c");
    group.add<Told>(calls, "d");
    const Result<void> started = group.start(loop.reactor);
    REQUIRE_FALSE(started.ok());
    CHECK(calls == Calls{"start a", "start b", "start bad", "stop b", "stop a"});
    CHECK(started.error().message ==
          (trouble == "fail" ? "inner: bad: nothing to start with" : "inner: bad: it threw an exception"));
    CHECK(loop.log.lines().size() == (trouble == "throw" ? 1 : 0));
  }
}

TEST_CASE("service group: one that throws in its stop is said and counted, the others stop") {
  Loop loop;
  Calls calls;
  const net::Reactor::Account account = loop.reactor.open_account("served");
  ServiceGroup group("group");
  group.add<Told>(calls, "a");
  group.add<Told>(calls, "b", "throw in stop");
  {
    const net::Reactor::Charge charge(loop.reactor, account);
    REQUIRE(group.start(loop.reactor).ok());
  }
  group.stop();
  CHECK(calls == Calls{"start a", "start b", "stop b", "stop a"});
  REQUIRE(loop.log.lines().size() == 1);
  CHECK(loop.log.lines()[0].who == "served");
  CHECK(loop.reactor.exceptions(account) == 1);
}

TEST_CASE("service group: one that is dropped while it runs stops its parts") {
  Loop loop;
  Calls calls;
  {
    ServiceGroup group("group");
    group.add<Told>(calls, "a");
    REQUIRE(group.start(loop.reactor).ok());
  }
  CHECK(calls == Calls{"start a", "stop a"});
}
