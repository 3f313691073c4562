// An exception thrown anywhere in a service's code ends that one thing, is logged once with the service (and the peer,
// where there is one), and is counted in the status report.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/application.hpp"
#include "services/net/deferred_tools.hpp"
#include "services/net/pool.hpp"
#include "services/net/task_set.hpp"
#include "services/timer_service.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// Throws where it is told to, in its first connection only; the others echo.
class FragileService final : public Service {
 public:
  explicit FragileService(std::string where) : where_(std::move(where)) {}

  [[nodiscard]] Result<void> start(net::Reactor& reactor) override {
    reactor_ = &reactor;
    tasks_ = std::make_unique<net::TaskSet>(reactor, "served");
    ticking_ = std::make_unique<TimerService>("tick", 100, [this] {
      ++ticks;
      if (ticks == 1) maybe_throw("timer service");
    });
    return ticking_->start(reactor);
  }
  void stop() override {
    ticking_->stop();
    tasks_.reset();
  }
  [[nodiscard]] std::vector<std::string> status() const override { return ticking_->status(); }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    const bool fragile = ++built_ == 1;
    if (fragile) maybe_throw("build_protocol");
    return std::make_unique<Connection>(*this, fragile);
  }
  [[nodiscard]] bool wind_down(std::function<void()> /*ended*/) override {
    maybe_throw("wind_down");
    return false;
  }

  int ticks = 0;
  int later = 0;  ///< what a timer, the pool and a coroutine had to say

 private:
  class Connection final : public net::Protocol {
   public:
    Connection(FragileService& service, bool fragile) : service_(service), fragile_(fragile) {}

    void connection_made() override { maybe_throw("connection_made"); }
    void data_received(std::string_view data) override {
      maybe_throw("data_received");
      transport().write(data == "big" ? numbered_bytes(8 << 20) : std::string(data));
      (void)transport().congested();
      net::Reactor& reactor = *service_.reactor_;
      const bool fragile = fragile_;
      FragileService& service = service_;
      timers_.push_back(reactor.call_later(10, [&service, fragile] {
        if (fragile) service.maybe_throw("timer");
        ++service.later;
      }));
      service_.works_.push_back(net::run_in_pool(
          reactor,
          [&service, fragile] {
            if (fragile) service.maybe_throw("pool work");
          },
          [&service, fragile](const Result<void>& result) {
            if (fragile) service.maybe_throw("pool news");
            if (result.ok()) ++service.later;
          }));
      service_.tasks_->add(in_the_background(service, fragile), transport().peer());
    }
    void end_received() override {
      maybe_throw("end_received");
      net::Protocol::end_received();
    }
    void output_drained() override { maybe_throw("output_drained"); }
    void connection_lost(const Error& /*reason*/) override { maybe_throw("connection_lost"); }

   private:
    void maybe_throw(const std::string& here) const {
      if (fragile_) service_.maybe_throw(here);
    }
    FragileService& service_;
    bool fragile_;
    std::vector<net::Timer> timers_;
  };

  void maybe_throw(const std::string& here) const {
    if (where_ == here) throw std::runtime_error("out of rabbits");
  }
  static net::Deferred<void> in_the_background(FragileService& service, bool fragile) {
    Result<void> slept = co_await net::sleep_for(*service.reactor_, 5);
    if (!slept) throw net::Failure(std::move(slept).error());
    if (fragile) service.maybe_throw("coroutine");
    Result<void> worked = co_await work_for(service, fragile);
    if (!worked) throw net::Failure(std::move(worked).error());
    ++service.later;
  }
  static net::Deferred<void> work_for(FragileService& service, bool fragile) {
    return net::defer_to_thread(*service.reactor_, [&service, fragile] {
      if (fragile) service.maybe_throw("work of a coroutine");
    });
  }

  std::string where_;
  net::Reactor* reactor_ = nullptr;
  std::unique_ptr<TimerService> ticking_;
  std::unique_ptr<net::TaskSet> tasks_;
  std::vector<net::PoolWork> works_;
  int built_ = 0;
};

/// One fragile service that serves, and one beside it that nothing happens to.
struct World {
  Loop loop;
  FragileService* fragile = nullptr;
  std::unique_ptr<Application> application;
  std::uint16_t port = 0;

  explicit World(const std::string& where) {
    Kind kind;
    kind.name = "fragile";
    kind.create = [&, where](const Options&) {
      auto service = std::make_unique<FragileService>(fragile == nullptr ? where : "nowhere");
      if (fragile == nullptr) fragile = service.get();
      return service;
    };
    const Registry kinds{{kind}};
    state::Definition definition;
    definition.name = "Test";
    for (const char* name : {"served", "beside"}) {
      state::ServiceDefinition service;
      service.name = name;
      service.kind = "fragile";
      definition.services.push_back(service);
    }
    Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
    REQUIRE(made.ok());
    application = std::move(made).value();
    Result<net::BoundEndpoint> bound =
        net::bind_endpoint(*net::parse_endpoint("tcp:0:interface=127.0.0.1"), std::nullopt);
    REQUIRE(bound.ok());
    port = static_cast<std::uint16_t>(std::stoi(bound->text.substr(bound->text.rfind(':') + 1)));
    std::vector<ServiceSocket> sockets;
    sockets.push_back({"served", std::move(bound->fd), net::StreamKind::tcp, 16, bound->text});
    REQUIRE(application->start(std::move(sockets)).ok());
  }

  /// Everything a first client can make a service do.
  void live() {
    Peer first = Peer::tcp(port);
    loop.turn(5);
    (void)first.send_some("big");
    for (int i = 0; i < 400; ++i) {
      loop.clock.advance(1);
      first.read_now();
      loop.turn(2);
    }
    (void)::shutdown(first.fd(), SHUT_WR);  // it may be over already
    CHECK(loop.turn_until([&] {
      loop.clock.advance(1);
      return first.read_now(), first.gone();
    }));
    loop.turn(5);
  }
  /// A second client, after whatever happened to the first.
  void check_serving() {
    const int before = fragile->later;
    Peer second = Peer::tcp(port);
    second.send("unharmed");
    CHECK(loop.turn_until([&] {
      loop.clock.advance(1);
      return second.read_now(), second.received() == "unharmed" && fragile->later == before + 3;
    }));
    const int ticks = fragile->ticks;
    CHECK(loop.turn_until([&] {
      loop.clock.advance(10);
      return fragile->ticks > ticks;
    }));
  }
};

}  // namespace

TEST_CASE("exceptions: without one nothing is logged and nothing counted") {
  World world("nowhere");
  world.live();
  world.check_serving();
  CHECK(world.loop.log.lines().empty());
  CHECK(world.application->status()[0].find(", 0 exceptions") != std::string::npos);
}

TEST_CASE(
    "exceptions: each callback of a protocol, a timer, pool work and a coroutine: one end, one line, one count, all "
    "else goes on") {
  struct Case {
    std::string where;
    bool has_peer;
  };
  for (const Case& one : {Case{"connection_made", true}, Case{"data_received", true}, Case{"end_received", true},
                          Case{"output_drained", true}, Case{"connection_lost", true}, Case{"build_protocol", false},
                          Case{"timer", false}, Case{"timer service", false}, Case{"pool work", false},
                          Case{"pool news", false}, Case{"coroutine", false}, Case{"work of a coroutine", false}}) {
    CAPTURE(one.where);
    World world(one.where);
    world.live();
    CHECK(world.loop.turn_until([&] { return world.loop.log.count("out of rabbits") == 1; }));
    world.check_serving();
    CHECK(world.loop.log.count("out of rabbits") == 1);
    for (const auto& line : world.loop.log.lines()) CHECK(line.who == "served");
    if (one.where.find("coroutine") != std::string::npos)
      CHECK(world.loop.log.lines()[0].message.find("127.0.0.1:") == 0);
    if (one.has_peer) CHECK(world.loop.log.count("connection of 127.0.0.1:") >= 1);
    CHECK(world.application->status()[0].find("served: ") == 0);
    CHECK(world.application->status()[0].find(", 1 exceptions") != std::string::npos);
    const std::vector<std::string> status = world.application->status();
    const auto beside = std::find_if(status.begin(), status.end(), [](const std::string& line) {
      return line.find("beside: 0 connections open") == 0;
    });
    REQUIRE(beside != status.end());
    CHECK(beside->find(", 0 exceptions") != std::string::npos);
  }
}

TEST_CASE("exceptions: one in a wind-down is counted and holds up nobody") {
  World world("wind_down");
  bool done = false;
  world.application->drain([&] { done = true; });
  CHECK(world.loop.turn_until([&] { return done; }));
  CHECK(world.loop.log.count("out of rabbits") == 1);
  CHECK(world.application->status()[0].find(", 1 exceptions") != std::string::npos);
}
