// An application's life: start, serve, drain, stop. Its states are in application_state_test.cpp.
#include "services/application.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "services/echo/echo.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/probe.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

/// An application of probes on a virtual loop.
struct World {
  Loop loop;
  Calls calls;
  Registry kinds{{probe_kind(calls), echo_kind()}};
  std::unique_ptr<Application> application;

  explicit World(const std::vector<state::ServiceDefinition>& services) {
    state::Definition definition;
    definition.name = "Test";
    definition.services = services;
    Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
    REQUIRE(made.ok());
    application = std::move(made).value();
  }
};

/// A bound port for a service.
ServiceSocket bind_for(const std::string& service, std::uint16_t& port, const std::string& text = "tcp:0") {
  Result<net::Endpoint> endpoint = net::parse_endpoint(text + ":interface=127.0.0.1");
  REQUIRE(endpoint.ok());
  Result<net::BoundEndpoint> bound = net::bind_endpoint(*endpoint, std::nullopt);
  REQUIRE(bound.ok());
  port = static_cast<std::uint16_t>(std::stoi(bound->text.substr(bound->text.rfind(':') + 1)));
  return {service, std::move(bound->fd), net::StreamKind::tcp, 16, bound->text};
}

Result<void> start_on_port(World& world, const std::string& service, std::uint16_t& port) {
  std::vector<ServiceSocket> sockets;
  sockets.push_back(bind_for(service, port));
  return world.application->start(std::move(sockets));
}

/// Puts pipes in the place of standard input and output, and the real ones back.
class PipedStdio {
 public:
  PipedStdio() : saved_in_(::dup(STDIN_FILENO)), saved_out_(::dup(STDOUT_FILENO)) {
    int in[2];
    int out[2];
    REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
    input.reset(in[1]);
    output.reset(out[0]);
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::close(in[0]);
    ::close(out[1]);
  }
  PipedStdio(const PipedStdio&) = delete;
  PipedStdio& operator=(const PipedStdio&) = delete;
  ~PipedStdio() { restore(); }
  void restore() {
    if (!saved_in_.open()) return;
    ::dup2(saved_in_.get(), STDIN_FILENO);
    ::dup2(saved_out_.get(), STDOUT_FILENO);
    saved_in_.reset();
    saved_out_.reset();
  }
  Fd input;   ///< what is written here is standard input
  Fd output;  ///< standard output comes out here

 private:
  Fd saved_in_;
  Fd saved_out_;
};

}  // namespace

TEST_CASE("application: starts its services in order, and stops them last first") {
  World world({probe_definition("a"), probe_definition("b"), probe_definition("c")});
  REQUIRE(world.application->start({}).ok());
  CHECK(text_of(world.calls) == "start a, start b, start c");
  world.application->stop();
  world.application->stop();
  world.application.reset();
  CHECK(text_of(world.calls) == "start a, start b, start c, stop c, stop b, stop a");
}

TEST_CASE("application: a reload is told to each service that runs, whatever one of them throws") {
  World world({probe_definition("a", "throw in reload"), probe_definition("b")});
  world.application->reload();
  CHECK(text_of(world.calls).empty());
  REQUIRE(world.application->start({}).ok());
  world.application->reload();
  world.application->stop();
  world.application->reload();
  CHECK(text_of(world.calls) == "start a, start b, reload a, reload b, stop b, stop a");
}

TEST_CASE("application: one that is dropped while it runs stops its services") {
  World world({probe_definition("a")});
  REQUIRE(world.application->start({}).ok());
  world.application.reset();
  CHECK(text_of(world.calls) == "start a, stop a");
}

TEST_CASE("application: a service that cannot start stops those that had started, last first") {
  for (const std::string how : {"fail", "throw"}) {
    CAPTURE(how);
    World world({probe_definition("a"), probe_definition("b"), probe_definition("bad", how), probe_definition("d")});
    std::uint16_t port = 0;
    const Result<void> started = start_on_port(world, "a", port);
    REQUIRE(!started.ok());
    CHECK(text_of(world.calls) == "start a, start b, start bad, stop b, stop a");
    CHECK(!can_connect(port));
    if (how == "fail") {
      CHECK(started.error().fault == Fault::unavailable);
      CHECK(started.error().message == "starting service 'bad': nothing to start with");
    } else {
      CHECK(started.error().fault == Fault::internal);
      CHECK(started.error().message == "starting service 'bad': it threw an exception");
      CHECK(world.loop.log.count("start threw") == 1);
      CHECK(world.loop.log.lines()[0].who == "bad");
    }
  }
}

TEST_CASE("application: a port that cannot be opened stops everything, and is named") {
  World world({probe_definition("a"), probe_definition("b")});
  std::uint16_t port = 0;
  std::uint16_t taken_port = 0;
  const ServiceSocket winner = bind_for("other", taken_port);
  std::vector<ServiceSocket> sockets;
  sockets.push_back(bind_for("a", port));
  sockets.push_back(bind_for("b", taken_port, "tcp:" + std::to_string(taken_port)));
  REQUIRE(::listen(winner.fd.get(), 1) == 0);
  const Result<void> started = world.application->start(std::move(sockets));
  REQUIRE(!started.ok());
  CHECK(started.error().exit_code() == 69);
  CHECK(started.error().message ==
        "service 'b', tcp:127.0.0.1:" + std::to_string(taken_port) + ": cannot listen: address already in use");
  CHECK(text_of(world.calls) == "start a, start b, stop b, stop a");
  world.loop.turn(2);
  CHECK(!can_connect(port));
}

TEST_CASE("application: ports open after all services have started") {
  World world({probe_definition("a"), probe_definition("b")});
  std::uint16_t port = 0;
  std::vector<ServiceSocket> sockets;
  sockets.push_back(bind_for("a", port));
  CHECK(!can_connect(port));
  REQUIRE(world.application->start(std::move(sockets)).ok());
  Peer peer = Peer::tcp(port);
  peer.send("x");
  CHECK(world.loop.turn_until([&] { return peer.read_now(), peer.received() == "1"; }));
}

TEST_CASE("application: a service may listen in several places, and its limits hold") {
  state::ServiceDefinition limited = probe_definition("a");
  limited.connections_max = 1;
  limited.idle_timeout_ms = 5000;
  World world({limited});
  std::uint16_t ports[2];
  std::vector<ServiceSocket> sockets;
  for (std::uint16_t& port : ports) sockets.push_back(bind_for("a", port));
  REQUIRE(world.application->start(std::move(sockets)).ok());
  Peer first = Peer::tcp(ports[0]);
  Peer second = Peer::tcp(ports[1]);
  first.send("x");
  REQUIRE(world.loop.turn_until([&] { return first.read_now(), first.received() == "1"; }));
  second.send("x");
  REQUIRE(world.loop.turn_until([&] { return second.read_now(), second.received() == "2"; }));
  Peer third = Peer::tcp(ports[0]);
  CHECK(world.loop.turn_until([&] { return third.read_now(), third.gone(); }));
  CHECK(world.application->status() ==
        std::vector<std::string>{"a: 2 connections open, 2 accepted, 1 refused, 0 timed out, 0 exceptions, 2 state "
                                 "changes since the start, durability strict"});
  world.loop.clock.advance(5000);
  world.loop.turn(2);
  CHECK(world.application->status() ==
        std::vector<std::string>{"a: 0 connections open, 2 accepted, 1 refused, 2 timed out, 0 exceptions, 2 state "
                                 "changes since the start, durability strict"});
}

namespace {

/// Winds down when it is told to.
class SlowService final : public Service {
 public:
  SlowService(Calls& calls, std::string name, std::function<void()>& ended)
      : calls_(calls), name_(std::move(name)), ended_(ended) {}
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return nullptr; }
  [[nodiscard]] bool wind_down(std::function<void()> ended) override {
    calls_.push_back("wind down " + name_);
    if (name_ == "quick") return false;
    ended_ = std::move(ended);
    return true;
  }
  void stop() override { calls_.push_back("stop " + name_); }

 private:
  Calls& calls_;
  std::string name_;
  std::function<void()>& ended_;
};

}  // namespace

TEST_CASE("application: a drain winds the services down, last first, and tells for whom it waits") {
  Loop loop;
  Calls calls;
  std::function<void()> ended;
  Kind kind;
  kind.name = "slow";
  kind.options = {{"label", OptionSpec::Type::text, {}, "?", "its name"}};
  kind.create = [&](const Options& options) {
    return std::make_unique<SlowService>(calls, options.text("label"), ended);
  };
  const Registry kinds{{kind}};
  state::Definition definition;
  definition.name = "Test";
  for (const char* name : {"first", "quick", "last"}) {
    state::ServiceDefinition service;
    service.name = name;
    service.kind = "slow";
    service.options = {{"label", name}};
    definition.services.push_back(service);
  }
  Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
  REQUIRE(made.ok());
  Application& application = **made;
  REQUIRE(application.start({}).ok());
  int done = 0;
  application.drain([&] { ++done; });
  loop.turn(5);
  CHECK(text_of(calls) == "wind down last");
  CHECK(application.waits_for() == std::vector<std::string>{"service 'last' has not wound down"});
  ended();
  CHECK(text_of(calls) == "wind down last");  // never from inside the call
  loop.turn(5);
  CHECK(text_of(calls) == "wind down last, wind down quick, wind down first");
  CHECK(done == 0);
  ended();
  loop.turn(5);
  CHECK(done == 1);
  CHECK(application.waits_for().empty());
  application.stop();
  CHECK(text_of(calls) == "wind down last, wind down quick, wind down first, stop last, stop quick, stop first");
}

TEST_CASE("application: one that has not wound down in time is stopped, and may not come back later") {
  Loop loop;
  Calls calls;
  std::function<void()> ended;
  Kind kind;
  kind.name = "slow";
  kind.create = [&](const Options&) { return std::make_unique<SlowService>(calls, "slow", ended); };
  const Registry kinds{{kind}};
  state::Definition definition;
  definition.name = "Test";
  definition.services.resize(1);
  definition.services[0].name = definition.services[0].kind = "slow";
  Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
  REQUIRE(made.ok());
  REQUIRE((*made)->start({}).ok());
  int done = 0;
  (*made)->drain([&] { ++done; });
  loop.turn(5);
  (*made)->stop();
  ended();
  loop.turn(5);
  CHECK(done == 0);
  CHECK(text_of(calls) == "wind down slow, stop slow");
}

TEST_CASE("application: a drain sends what is due, closes the ports, and calls back once") {
  World world({probe_definition("a"), probe_definition("b")});
  std::uint16_t ports[2];
  std::vector<ServiceSocket> sockets;
  sockets.push_back(bind_for("a", ports[0]));
  sockets.push_back(bind_for("b", ports[1]));
  REQUIRE(world.application->start(std::move(sockets)).ok());
  Peer idle = Peer::tcp(ports[0]);
  Peer busy = Peer::tcp(ports[1]);
  busy.send("big");
  REQUIRE(world.loop.turn_until([&] { return busy.read_now(1000), !busy.received().empty(); }));
  int done = 0;
  world.application->drain([&] { ++done; });
  CHECK(done == 0);
  CHECK(world.loop.turn_until([&] { return idle.read_now(), idle.ended(); }));
  CHECK(!can_connect(ports[0]));
  CHECK(done == 0);
  CHECK(world.loop.turn_until([&] { return busy.read_now(), busy.gone(); }));
  CHECK(busy.received().size() == (8U << 20));
  CHECK(world.loop.turn_until([&] { return done == 1; }));
  world.loop.turn(5);
  CHECK(done == 1);
}

TEST_CASE("application: a drain without any socket calls back, from a later turn") {
  World world({probe_definition("a")});
  REQUIRE(world.application->start({}).ok());
  int done = 0;
  world.application->drain([&] { ++done; });
  CHECK(done == 0);
  world.loop.turn(3);
  CHECK(done == 1);
}

TEST_CASE("application: abort_connections ends a drain that a client holds up") {
  World world({probe_definition("a")});
  std::uint16_t port = 0;
  REQUIRE(start_on_port(world, "a", port).ok());
  Peer busy = Peer::tcp(port);
  busy.send("big");
  REQUIRE(world.loop.turn_until([&] { return busy.read_now(1000), !busy.received().empty(); }));
  bool done = false;
  world.application->drain([&] { done = true; });
  world.loop.turn(5);
  CHECK(!done);
  world.application->abort_connections();
  CHECK(world.loop.turn_until([&] { return done; }));
}

TEST_CASE("application: a service is stopped after the last of its connections") {
  World world({probe_definition("a"), probe_definition("b")});
  std::uint16_t port = 0;
  REQUIRE(start_on_port(world, "a", port).ok());
  const Peer peer = Peer::tcp(port);
  REQUIRE(world.loop.turn_until([&] { return world.application->status()[0].find("a: 1 conn") == 0; }));
  world.application->abort_connections();
  world.application->stop();
  CHECK(text_of(world.calls) == "start a, start b, stop b, lost a, stop a");
}

TEST_CASE("application: an exception of one service's stop does not keep the others from theirs") {
  World world({probe_definition("a"), probe_definition("b", "throw in stop")});
  REQUIRE(world.application->start({}).ok());
  world.application->stop();
  CHECK(text_of(world.calls) == "start a, start b, stop b, stop a");
  CHECK(world.loop.log.count("stop threw") == 1);
}

TEST_CASE("application: standard input and output are one connection, and their end is told") {
  PipedStdio stdio;
  std::string answer;
  bool ended = false;
  {
    World world({probe_definition("a")});
    std::vector<ServiceSocket> sockets;
    sockets.push_back({"a", Fd(), net::StreamKind::unix_socket, 0, "stdio:"});
    world.application->when_stdio_ends([&] { ended = true; });
    REQUIRE(world.application->start(std::move(sockets)).ok());
    REQUIRE(::write(stdio.input.get(), "x", 1) == 1);
    char buffer[16];
    REQUIRE(::fcntl(stdio.output.get(), F_SETFL, O_NONBLOCK) == 0);
    ssize_t got = -1;
    CHECK(world.loop.turn_until([&] { return (got = ::read(stdio.output.get(), buffer, sizeof buffer)) > 0; }));
    if (got > 0) answer.assign(buffer, static_cast<std::size_t>(got));
    CHECK(!ended);
    stdio.input.reset();
    CHECK(world.loop.turn_until([&] { return ended; }));
  }
  stdio.restore();
  CHECK(answer == "1");
}

TEST_CASE("application: the end of standard input is no end while there are ports") {
  PipedStdio stdio;
  {
    World world({probe_definition("a")});
    std::uint16_t port = 0;
    std::vector<ServiceSocket> sockets;
    sockets.push_back(bind_for("a", port));
    sockets.push_back({"a", Fd(), net::StreamKind::unix_socket, 0, "stdio:"});
    bool ended = false;
    world.application->when_stdio_ends([&] { ended = true; });
    REQUIRE(world.application->start(std::move(sockets)).ok());
    stdio.input.reset();
    CHECK(world.loop.turn_until([&] { return world.calls.back() == "lost a"; }));
    world.loop.turn(5);
    CHECK(!ended);
    CHECK(can_connect(port));
  }
}

TEST_CASE("application: a drain ends the standard streams too, although input stays open") {
  PipedStdio stdio;
  {
    World world({probe_definition("a")});
    std::vector<ServiceSocket> sockets;
    sockets.push_back({"a", Fd(), net::StreamKind::unix_socket, 0, "stdio:"});
    REQUIRE(world.application->start(std::move(sockets)).ok());
    bool done = false;
    world.application->drain([&] { done = true; });
    CHECK(world.loop.turn_until([&] { return done; }));
  }
}

TEST_CASE("application: standard streams without a protocol are a failed start, not a silent one") {
  PipedStdio stdio;
  bool started = true;
  {
    World world({probe_definition("a", "no protocol")});
    std::vector<ServiceSocket> sockets;
    sockets.push_back({"a", Fd(), net::StreamKind::unix_socket, 0, "stdio:"});
    started = world.application->start(std::move(sockets)).ok();
  }
  stdio.restore();
  CHECK(!started);
}

namespace {

/// Speaks otherwise at one endpoint.
class TwoFaces final : public Service {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Says>("front"); }
  [[nodiscard]] net::Factory& factory_for(const std::string& endpoint) override {
    asked.push_back(endpoint);
    return endpoint == "tcp:0:special" ? back_ : static_cast<net::Factory&>(*this);
  }
  static inline std::vector<std::string> asked;

 private:
  class Says final : public net::Protocol {
   public:
    explicit Says(std::string text) : text_(std::move(text)) {}
    void connection_made() override {
      transport().write(text_);
      transport().lose_connection();
    }
    void data_received(std::string_view /*data*/) override {}

   private:
    std::string text_;
  };
  class Back final : public net::Factory {
   public:
    [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Says>("back"); }
  };
  Back back_;
};

}  // namespace

TEST_CASE("application: a service may speak otherwise at one of its endpoints") {
  Loop loop;
  Kind kind;
  kind.name = "faces";
  kind.create = [](const Options&) { return std::make_unique<TwoFaces>(); };
  const Registry kinds({kind});
  state::Definition definition;
  definition.name = "Test";
  definition.services = {{}};
  definition.services[0].name = definition.services[0].kind = "faces";
  Result<std::unique_ptr<Application>> made = Application::create(definition, kinds, loop.reactor);
  REQUIRE(made.ok());
  std::uint16_t ports[2] = {0, 0};
  std::vector<ServiceSocket> sockets;
  for (std::uint16_t& port : ports) sockets.push_back(bind_for("faces", port));
  sockets[0].endpoint = "tcp:0";
  sockets[1].endpoint = "tcp:0:special";
  REQUIRE((*made)->start(std::move(sockets)).ok());
  CHECK(TwoFaces::asked == std::vector<std::string>{"tcp:0", "tcp:0:special"});
  Peer front = Peer::tcp(ports[0]);
  Peer back = Peer::tcp(ports[1]);
  CHECK(loop.turn_until([&] {
    front.read_now();
    back.read_now();
    return front.ended() && back.ended();
  }));
  CHECK(front.received() == "front");
  CHECK(back.received() == "back");
}
