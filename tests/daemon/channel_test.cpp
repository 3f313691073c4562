// What keeper and worker say to each other: messages, the worker's plan, and signals.
#include "daemon/channel.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "daemon/plan.hpp"
#include "daemon/signals.hpp"
#include "tests/services/net/fixture.hpp"

using namespace tap;
using namespace tap::daemon;

namespace {

struct Ends {
  Channel left;
  Channel right;
};

Ends make_ends() {
  Result<std::pair<Channel, Channel>> pair = Channel::make_pair();
  REQUIRE(pair.ok());
  return {std::move(pair->first), std::move(pair->second)};
}

Message message(Message::Type type, std::string text = "", Fault fault = Fault::internal) {
  return {type, fault, std::move(text), Fd()};
}

/// The next message. REQUIRES: there is one.
Message receive(const Channel& channel) {
  bool closed = false;
  std::optional<Message> received = channel.receive(closed);
  REQUIRE(received.has_value());
  CHECK(!closed);
  return *std::move(received);
}

WorkerPlan full_plan() {
  WorkerPlan plan;
  plan.definition.name = "Fibonacci";
  plan.definition.stop_timeout_ms = 1234;
  state::ServiceDefinition service;
  service.name = "fib";
  service.kind = "fibonacci";
  service.listen = {"tcp:0", "stdio:"};
  service.options = {{"framing", "line"}};
  plan.definition.services = {service};
  plan.sockets = {{"fib", "tcp:127.0.0.1:40123", "tcp:0", 11, true, 511}, {"fib", "stdio:", "stdio:", -1, false, 0}};
  plan.store_fd = 7;
  plan.lock_fd = 8;
  plan.channel_fd = 9;
  plan.log_fd = 10;
  plan.save = false;
  plan.archive = std::string("any\0bytes", 9);
  plan.change_identity = true;
  plan.uid = 4'294'967'294;
  plan.gid = 100;
  plan.chroot = "/srv/jail";
  plan.start_dir = "/home/me";
  plan.log_target = static_cast<std::uint8_t>(LogPlan::Target::journal);
  plan.syslog_ident = "shop";
  plan.log_level = "debug";
  plan.keeper_pid = 4242;
  return plan;
}

/// Puts the process's signal mask back.
class SignalMask {
 public:
  SignalMask() { ::sigprocmask(SIG_BLOCK, nullptr, &before_); }
  SignalMask(const SignalMask&) = delete;
  SignalMask& operator=(const SignalMask&) = delete;
  ~SignalMask() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

TEST_CASE("channel: messages arrive whole, in order, both ways") {
  const Ends ends = make_ends();
  ends.left.send(message(Message::Type::stop));
  ends.left.send(message(Message::Type::failed, std::string("a\0b\nc", 5), Fault::damaged));
  ends.right.send(message(Message::Type::ready, "listening"));
  CHECK(receive(ends.right).type == Message::Type::stop);
  const Message failed = receive(ends.right);
  CHECK(failed.type == Message::Type::failed);
  CHECK(failed.fault == Fault::damaged);
  CHECK(failed.text == std::string("a\0b\nc", 5));
  CHECK(!failed.fd.open());
  const Message ready = receive(ends.left);
  CHECK(ready.type == Message::Type::ready);
  CHECK(ready.text == "listening");
  bool closed = false;
  CHECK(!ends.left.receive(closed).has_value());
  CHECK(!closed);
}

TEST_CASE("channel: every type and every fault comes through") {
  using Type = Message::Type;
  const Ends ends = make_ends();
  for (const Type type :
       {Type::stop, Type::force, Type::reopen_log, Type::report_status, Type::ready, Type::failed, Type::stopped}) {
    for (const Fault fault : {Fault::usage, Fault::damaged, Fault::no_input, Fault::unavailable, Fault::internal,
                              Fault::cannot_create, Fault::temporary, Fault::permission, Fault::config}) {
      ends.left.send(message(type, "", fault));
      const Message received = receive(ends.right);
      CHECK(received.type == type);
      CHECK(received.fault == fault);
      CHECK(received.text.empty());
    }
  }
}

TEST_CASE("channel: a text of the greatest length comes through, a longer one is cut") {
  const Ends ends = make_ends();
  const std::string longest = tests::numbered_bytes(Message::kTextBytesMax);
  ends.left.send(message(Message::Type::failed, longest));
  CHECK(receive(ends.right).text == longest);
  ends.left.send(message(Message::Type::failed, longest + "more"));
  CHECK(receive(ends.right).text == longest);
}

TEST_CASE("channel: a descriptor comes along, and is the receiver's own") {
  const Ends ends = make_ends();
  int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_CLOEXEC) == 0);
  const Fd read_end(pipe_ends[0]);
  Message with_fd = message(Message::Type::reopen_log, "with");
  with_fd.fd.reset(pipe_ends[1]);
  ends.left.send(std::move(with_fd));
  ends.left.send(message(Message::Type::stop));
  Message received = receive(ends.right);
  CHECK(received.text == "with");
  REQUIRE(received.fd.open());
  CHECK((::fcntl(received.fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  REQUIRE(::write(received.fd.get(), "x", 1) == 1);
  char byte = 0;
  CHECK(::read(read_end.get(), &byte, 1) == 1);
  CHECK(!receive(ends.right).fd.open());
  received.fd.reset();
  CHECK(::read(read_end.get(), &byte, 1) == 0);  // the sender's copy is gone too
}

TEST_CASE("channel: a closed end is told after the last message") {
  Ends ends = make_ends();
  ends.left.send(message(Message::Type::stopped, "generation 3"));
  ends.left = Channel();
  CHECK(receive(ends.right).text == "generation 3");
  bool closed = false;
  CHECK(!ends.right.receive(closed).has_value());
  CHECK(closed);
}

TEST_CASE("channel: a message to an end that is gone is dropped, without a signal") {
  const tests::ChildEnd end = tests::in_child([] {
    ::signal(SIGPIPE, SIG_DFL);
    Result<std::pair<Channel, Channel>> pair = Channel::make_pair();
    pair->second = Channel();
    pair->first.send({Message::Type::stop, Fault::internal, "", Fd()});
  });
  CHECK(end.signal == 0);
  CHECK(end.code == 0);
}

TEST_CASE("plan: everything in it comes through the memory file, as often as it is read") {
  const WorkerPlan plan = full_plan();
  Result<Fd> file = write_plan(plan);
  REQUIRE(file.ok());
  for (int time = 0; time < 2; ++time) {
    Result<WorkerPlan> read = read_plan(file->get());
    REQUIRE(read.ok());
    CHECK(read->definition == plan.definition);
    REQUIRE(read->sockets.size() == 2);
    CHECK(read->sockets[0].service == "fib");
    CHECK(read->sockets[0].text == "tcp:127.0.0.1:40123");
    CHECK(read->sockets[0].endpoint == "tcp:0");
    CHECK(read->sockets[0].fd == 11);
    CHECK(read->sockets[0].tcp);
    CHECK(read->sockets[0].backlog == 511);
    CHECK(read->sockets[1].fd == -1);
    CHECK(!read->sockets[1].tcp);
    CHECK(std::vector<int>{read->store_fd, read->lock_fd, read->channel_fd, read->log_fd} ==
          std::vector<int>{7, 8, 9, 10});
    CHECK(!read->save);
    CHECK(read->archive == plan.archive);
    CHECK(read->change_identity);
    CHECK(read->uid == plan.uid);
    CHECK(read->gid == plan.gid);
    CHECK(read->chroot == plan.chroot);
    CHECK(read->start_dir == plan.start_dir);
    CHECK(read->keeper_pid == 4242);
    CHECK(read->log().target == LogPlan::Target::journal);
    CHECK(read->log().syslog_ident == "shop");
    CHECK(read->log().level == "debug");
  }
}

TEST_CASE("plan: an empty one comes through too") {
  Result<Fd> file = write_plan({});
  REQUIRE(file.ok());
  Result<WorkerPlan> read = read_plan(file->get());
  REQUIRE(read.ok());
  CHECK(read->descriptors().empty());
  CHECK(read->save);
}

TEST_CASE("plan: the descriptors that a worker must inherit are those that there are") {
  CHECK(full_plan().descriptors() == std::vector<int>{7, 8, 9, 10, 11});
}

TEST_CASE("plan: a file that is none is an internal error") {
  Result<Fd> file = write_plan(full_plan());
  REQUIRE(file.ok());
  struct stat found {};
  REQUIRE(::fstat(file->get(), &found) == 0);
  for (const off_t size : {off_t{0}, off_t{1}, found.st_size / 2, found.st_size - 1, found.st_size + 1}) {
    CAPTURE(size);
    Result<Fd> other = write_plan(full_plan());
    REQUIRE(other.ok());
    REQUIRE(::ftruncate(other->get(), size) == 0);
    const Result<WorkerPlan> read = read_plan(other->get());
    REQUIRE(!read.ok());
    CHECK(read.error().fault == Fault::internal);
    CHECK(read.error().message.find("the worker's plan") != std::string::npos);
  }
  CHECK(!read_plan(-1).ok());
}

TEST_CASE("signals: arrive as something to read, and only those asked for") {
  const SignalMask restored;
  Result<SignalReader> reader = SignalReader::open({SIGUSR1, SIGUSR2});
  REQUIRE(reader.ok());
  CHECK(!reader->next().has_value());
  ::raise(SIGUSR2);
  ::raise(SIGUSR1);
  std::vector<int> heard;
  while (const std::optional<int> signal = reader->next()) heard.push_back(*signal);
  CHECK(heard == std::vector<int>{SIGUSR1, SIGUSR2});  // pending signals are given by number
  ::raise(SIGUSR1);
  ::raise(SIGUSR1);  // the kernel keeps one of a kind
  CHECK(reader->next() == SIGUSR1);
  CHECK(!reader->next().has_value());
  CHECK((::fcntl(reader->fd(), F_GETFD) & FD_CLOEXEC) != 0);
}
