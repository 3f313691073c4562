// What leaves the loop and comes back: work in the pool, and child processes.
#include "services/net/process.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "services/net/deferred_tools.hpp"
#include "tests/services/net/outcome.hpp"

namespace tap::tests {
namespace {

using net::Deferred;
using net::ProcessOutput;
using net::ProcessSpec;

ProcessSpec shell(const std::string& script) { return {{"sh", "-c", script}, "", std::nullopt}; }

}  // namespace

TEST_CASE("process: its output, its errors and its exit code") {
  Loop loop;
  const auto got = outcome(loop, net::run_process(loop.reactor, shell("cat; echo oops >&2; exit 3"), "a poem"));
  REQUIRE(got.ok());
  CHECK(got->out == "a poem");
  CHECK(got->error == "oops\n");
  CHECK(got->end.exit_code == 3);
  CHECK_FALSE(got->end.good());
  CHECK(got->end.text() == "exit code 3");
}

TEST_CASE("process: its directory and its environment are what was asked for") {
  Loop loop;
  ProcessSpec spec = shell("pwd; echo $COLOUR$HOME");
  spec.directory = "/";
  spec.environment = std::vector<std::string>{"COLOUR=blue", "PATH=/usr/bin:/bin"};
  CHECK(outcome(loop, net::run_process(loop.reactor, spec))->out == "/\nblue\n");
}

TEST_CASE("process: a program that is not there is an error at once") {
  Loop loop;
  Deferred<ProcessOutput> none = net::run_process(loop.reactor, {{"no-such-program"}, "", std::nullopt});
  REQUIRE(none.done());
  CHECK(none.take().error().message == "starting no-such-program: no such file or directory");
}

TEST_CASE("process: a signal that ends it is told") {
  Loop loop;
  const auto got = outcome(loop, net::run_process(loop.reactor, shell("kill -TERM $$; cat"), ""));
  CHECK(got->end.signal == SIGTERM);
  CHECK(got->end.text() == "signal 15");
}

TEST_CASE("process: one that says too much is killed") {
  Loop loop;
  const auto got = outcome(loop, net::run_process(loop.reactor, shell("while :; do echo yes; done"), "", 10'000));
  CHECK(got.error().message == "it says more than 10000 bytes");
}

TEST_CASE("process: a megabyte goes through it") {
  Loop loop;
  const std::string poem(1'000'000, 'x');
  CHECK(outcome(loop, net::run_process(loop.reactor, shell("cat"), poem, 2'000'000))->out == poem);
}

TEST_CASE("process: dropped it is killed, and no zombie stays") {
  pid_t pid = 0;
  {
    Loop loop;
    Result<std::unique_ptr<net::Process>> started = net::Process::start(loop.reactor, shell("cat"), {});
    REQUIRE(started.ok());
    pid = (*started)->pid();
    CHECK(::kill(pid, 0) == 0);
    started->reset();
  }
  CHECK(::kill(pid, 0) == -1);
  CHECK(errno == ESRCH);
}

TEST_CASE("process: the one who hears of it may drop it in any call") {
  Loop loop;
  for (const bool in_output : {true, false}) {
    std::unique_ptr<net::Process> process;
    bool dropped = false;
    net::Process::Listener listener;
    const auto drop = [&] {
      process.reset();
      dropped = true;
    };
    if (in_output) listener.out = [&](std::string_view) { drop(); };
    else listener.ended = [&](const net::ProcessEnd&) { drop(); };
    process = std::move(net::Process::start(loop.reactor, shell("echo hello"), std::move(listener))).value();
    CHECK(loop.turn_until([&] { return dropped; }));
  }
}

TEST_CASE("process: input may be refused, a signal sent, and both are over with it") {
  Loop loop;
  bool over = false;
  net::Process::Listener listener;
  listener.ended = [&](const net::ProcessEnd& end) {
    CHECK(end.signal == SIGUSR1);
    over = true;
  };
  auto process = std::move(net::Process::start(loop.reactor, shell("exec sleep 1000"), std::move(listener))).value();
  CHECK(process->write("abc"));
  CHECK_FALSE(process->write(std::string(net::Process::kInputBytesMax, 'x')));
  process->close_input();
  CHECK_FALSE(process->write("more"));
  CHECK(process->kill(SIGUSR1).ok());
  CHECK(loop.turn_until([&] { return over; }));
  CHECK(process->kill(SIGUSR1).error().message == "the process has ended (signal 10)");
}

}  // namespace tap::tests
