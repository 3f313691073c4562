// What leaves the loop and comes back: work in the pool, and child processes.
#include "services/net/process.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "services/net/deferred_tools.hpp"
#include "services/net/thread_pool.hpp"
#include "tests/services/net/fixture.hpp"

namespace tap::tests {
namespace {

using net::Deferred;
using net::ProcessOutput;
using net::ProcessSpec;

ProcessSpec shell(const std::string& script) { return {{"sh", "-c", script}, "", std::nullopt}; }

/// What becomes of it; the loop turns meanwhile.
template <class T>
Result<T> outcome(Loop& loop, Deferred<T> of) {
  REQUIRE(loop.turn_until([&] { return of.done(); }));
  return of.take();
}

}  // namespace

TEST_CASE("pool: work is done in another thread and its answer comes on the loop") {
  Loop loop;
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id there;
  Deferred<int> answer = net::defer_to_thread(loop.reactor, [&there] {
    there = std::this_thread::get_id();
    return 42;
  });
  CHECK_FALSE(answer.done());
  CHECK(outcome(loop, std::move(answer)).value() == 42);
  CHECK(there != here);
}

TEST_CASE("pool: what the work throws, or returns as an error, is the answer's error") {
  Loop loop;
  const auto thrown =
      outcome(loop, net::defer_to_thread(loop.reactor, []() -> int { throw std::runtime_error("broken"); }));
  CHECK(thrown.error().message == "an exception: broken");
  const auto refused = outcome(loop, net::defer_to_thread(loop.reactor, []() -> Result<std::string> {
    return Error{Fault::no_input, "no such file"};
  }));
  CHECK(refused.error().fault == Fault::no_input);
  CHECK(outcome(loop, net::defer_to_thread(loop.reactor, [] {})).ok());
}

TEST_CASE("pool: dropped answers, and a reactor that ends while work is under way") {
  Loop loop;
  for (int i = 0; i < 100; ++i) {
    Deferred<int> dropped = net::defer_to_thread(loop.reactor, [i] { return i; });
    if (i % 3 == 0) loop.turn();
  }
  Deferred<int> cancelled = net::defer_to_thread(loop.reactor, [] { return 1; });
  cancelled.cancel();
  const Result<int> answer = outcome(loop, std::move(cancelled));
  if (!answer) CHECK(net::is_cancelled(answer.error()));  // or it had begun
}

TEST_CASE("pool: work of many threads and posts to the loop at once") {
  Loop loop;
  int posted = 0;
  std::vector<Deferred<int>> all;
  for (int i = 0; i < 200; ++i) {
    all.push_back(net::defer_to_thread(loop.reactor, [&loop, &posted] {
      for (int j = 0; j < 20; ++j) loop.reactor.post([&posted] { ++posted; });
      return 1;
    }));
  }
  const auto answers = outcome(loop, net::gather(std::move(all)));
  CHECK(answers->size() == 200);
  CHECK(loop.turn_until([&] { return posted == 4000; }));
}

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
