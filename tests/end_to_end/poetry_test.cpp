// The poetry kinds as people run them: killed, crowded, and with Twisted's clients.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "tests/end_to_end/articles.hpp"

using namespace tap::tests;

namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> poetry_words(const std::vector<std::string>& more) {
  std::vector<std::string> words{"poetry", "--listen", "tcp:0:interface=127.0.0.1:backlog=8192",
                                 "--poem", "poem.txt", "-o"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// What an audience is to hear.
struct Recital {
  std::string poem;
  std::size_t num_bytes = 10;
  double delay_s = 0.7;
};

/// Everybody who hears a slow poem at once: each piece with its time.
class Audience {
 public:
  /// `connected` is called after each of them.
  Audience(
      Recital recital, std::uint16_t port, std::size_t count, const std::function<void()>& connected = [] {})
      : recital_(std::move(recital)), epoll_(::epoll_create1(EPOLL_CLOEXEC)), listeners_(count), open_(count) {
    for (std::size_t i = 0; i < count; ++i) {
      listeners_[i].fd = tap::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      connect(listeners_[i].fd.get(), port);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = i;
      REQUIRE(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listeners_[i].fd.get(), &event) == 0);
      connected();
      hear_what_has_come(0);  // the first hear something while the last are still coming
    }
  }

  /// Until all have heard the end. Pieces come some milliseconds apart for different listeners, and are read together.
  void listen() {
    const auto deadline = Clock::now() + std::chrono::duration<double>(3 * asked_s() + 20);
    while (open_ > 0 && Clock::now() < deadline) hear_what_has_come(1000);
  }

  std::size_t wrong = 0;     ///< had other bytes, or another end
  std::size_t pieces = 0;    ///< that were waited for
  std::size_t untimely = 0;  ///< more than 20 % early or late
  double worst = 0;          ///< how much at most, of the delay
  double total_worst = 0;    ///< the same for a whole poem
  [[nodiscard]] std::size_t open() const { return open_; }

 private:
  struct Listener {
    tap::Fd fd;
    std::size_t heard = 0;
    Clock::time_point first;
    Clock::time_point last;
  };

  /// One that has to ask again, a second later (its port was another's just now), keeps nobody else from hearing.
  void connect(int fd, std::uint16_t port) {
    const sockaddr_in address = loopback(port);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
    REQUIRE(errno == EINPROGRESS);
    pollfd waiting{fd, POLLOUT, 0};
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (::poll(&waiting, 1, 1) == 0 && Clock::now() < deadline) hear_what_has_come(0);
    int failed = 0;
    socklen_t size = sizeof failed;
    REQUIRE(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0);
    REQUIRE(failed == 0);
  }

  /// From the first piece to the last.
  [[nodiscard]] double asked_s() const {
    return recital_.delay_s * static_cast<double>((recital_.poem.size() - 1) / recital_.num_bytes);
  }

  void hear_what_has_come(int wait_ms) {
    epoll_event events[1024];
    const int ready = ::epoll_wait(epoll_.get(), events, 1024, wait_ms);
    const auto now = Clock::now();
    for (int i = 0; i < ready; ++i) hear(listeners_[events[i].data.u64], now);
  }

  void hear(Listener& listener, Clock::time_point now) {
    char bytes[4096];
    const ssize_t got = ::recv(listener.fd.get(), bytes, sizeof bytes, 0);
    if (got <= 0) {
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0 || listener.heard != recital_.poem.size()) ++wrong;
      const double took_s = std::chrono::duration<double>(listener.last - listener.first).count();
      total_worst = std::max(total_worst, std::abs(took_s - asked_s()) / asked_s());
      listener.fd.reset();
      --open_;
      return;
    }
    const auto size = static_cast<std::size_t>(got);
    if (recital_.poem.compare(listener.heard, size, bytes, size) != 0) ++wrong;
    if (listener.heard == 0) {
      listener.first = now;
    } else {
      const double gap_s = std::chrono::duration<double>(now - listener.last).count();
      const double off = std::abs(gap_s - recital_.delay_s) / recital_.delay_s;
      ++pieces;
      if (off > 0.2) ++untimely;
      worst = std::max(worst, off);
    }
    listener.heard += size;
    listener.last = now;
  }

  Recital recital_;
  tap::Fd epoll_;
  std::vector<Listener> listeners_;
  std::size_t open_;
};

/// Server and audience on processors of their own, so that it is the same to wake somebody whoever sends.
void run_on(int processor, pid_t whom) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  (void)::sched_setaffinity(whom, sizeof set, &set);  // where there is but one, everybody has that
}

/// What the least that anybody could do costs the processor, as a share of a core: nothing but send(2), as slowly, to
/// as many, in the same order.
double bare_share(std::size_t count, const Recital& recital) {
  const tap::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(listener.get(), 8) == 0);
  REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  std::vector<tap::Fd> sockets;
  Audience audience(recital, ntohs(address.sin_port), count, [&] {
    sockets.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    REQUIRE(sockets.back().open());
  });
  double share = 0;
  std::thread sender([&] {
    run_on(0, 0);
    const auto began = Clock::now();
    constexpr double kGroupS = 0.01;  // as in tapd: who is due within it is served together
    const auto in_group = static_cast<std::size_t>(std::ceil(static_cast<double>(count) * kGroupS / recital.delay_s));
    const tap::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec every{{0, static_cast<long>(1e9 * kGroupS)}, {0, 1}};
    std::uint64_t ticks = 0;
    bool paced = ::timerfd_settime(timer.get(), 0, &every, nullptr) == 0;
    for (std::size_t at = 0; at < recital.poem.size(); at += recital.num_bytes) {
      const std::string_view piece = std::string_view(recital.poem).substr(at, recital.num_bytes);
      for (std::size_t i = 0; i < count; ++i) {
        if (i % in_group == 0) paced = paced && ::read(timer.get(), &ticks, sizeof ticks) == sizeof ticks;
        (void)::send(sockets[i].get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    if (!paced) return;
    share = (static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec)) /
            std::chrono::duration<double>(Clock::now() - began).count();
    sockets.clear();
  });
  audience.listen();
  sender.join();
  REQUIRE(audience.wrong == 0);
  REQUIRE(share > 0);
  return share;
}

}  // namespace

TEST_CASE(
    "poetry: a worker that is killed in the middle of a poem resets its clients, and the next one tells it whole") {
  const TemporaryDirectory directory;
  const std::string poem = poem_text(30'000'000);
  write_poem(directory / "poem.txt", poem);
  for (const char* mode : {"fast", "slow"}) {
    CAPTURE(mode);
    Daemon daemon(directory, poetry_words({"--mode", mode, "--num-bytes", "65536", "--delay", "1ms"}));
    REQUIRE(daemon.started());
    for (std::size_t i = 1; i <= 3; ++i) {
      Client client = Client::tcp(daemon.port());
      CHECK(client.read_exactly(1000) == poem.substr(0, 1000));
      send_signal(daemon.worker(), SIGKILL);
      (void)client.read_all();
      CHECK(client.failed());  // a reset, and no end
      REQUIRE(daemon.wait_for_log("has taken over", i));
    }
    Client client = Client::tcp(daemon.port());
    CHECK(client.read_all() == poem);
    CHECK_FALSE(client.failed());
    CHECK(daemon.stop());
    write_text(directory / "tapd.log", "");
  }
}

TEST_CASE("poetry: a poem of a gigabyte is not in memory, for no client") {
  const std::size_t gigabytes = long_run() ? 1 : 0;
  const TemporaryDirectory directory;
  const off_t size = gigabytes != 0 ? off_t{1} << 30 : off_t{1} << 27;
  {
    const tap::Fd file(::open((directory / "poem.txt").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(file.get(), size) == 0);
    const timespec old[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    REQUIRE(::futimens(file.get(), old) == 0);
  }
  Daemon daemon(directory, poetry_words({}));
  REQUIRE(daemon.started());
  const pid_t worker = daemon.worker();
  CHECK(Client::tcp(daemon.port()).read_exactly(10) == std::string(10, '\0'));
  const long before_kib = resident_kib(worker);
  std::vector<Client> stuck;
  for (int i = 0; i < 20; ++i) stuck.push_back(Client::tcp(daemon.port()));
  for (Client& client : stuck) CHECK(client.read_exactly(10) == std::string(10, '\0'));
  Client client = Client::tcp(daemon.port());
  std::size_t got = 0;
  for (std::string piece = client.read_some(); !piece.empty(); piece = client.read_some()) got += piece.size();
  CHECK(got == static_cast<std::size_t>(size));
  CHECK_FALSE(client.failed());
  const long grown_kib = resident_kib(worker) - before_kib;
  MESSAGE("20 stuck clients and one that read: " << grown_kib << " KiB more");
  if (!sanitized()) CHECK(grown_kib < 21 * 3 * 64 + 2048);
  CHECK(daemon.worker() == worker);
  stuck.clear();
  CHECK(daemon.stop());
}

TEST_CASE("poetry: slow poetry to thousands at once has every byte right, in time, and costs little") {
  const bool thorough = raise_descriptor_limit() > 12'000 && long_run();
  const std::size_t count = thorough ? 5000 : 500;
  const TemporaryDirectory directory;
  const Recital recital{poem_text(thorough ? 305 : 65)};
  write_poem(directory / "poem.txt", recital.poem);
  Daemon daemon(directory, poetry_words({"--mode", "slow"}));
  REQUIRE(daemon.started());
  const pid_t worker = daemon.worker();
  cpu_set_t anywhere;
  REQUIRE(::sched_getaffinity(0, sizeof anywhere, &anywhere) == 0);
  run_on(0, worker);
  run_on(1, 0);
  Audience audience(recital, daemon.port(), count);
  const double before_s = processor_s(worker);
  const auto began = Clock::now();
  audience.listen();
  const double took_s = std::chrono::duration<double>(Clock::now() - began).count();
  const double share = (processor_s(worker) - before_s) / took_s;
  MESSAGE(count << " clients, " << took_s << " s: " << 100 * share << " % of a core; " << audience.untimely << " of "
                << audience.pieces << " pieces more than 20 % off, the worst " << 100 * audience.worst
                << " %; the worst poem " << 100 * audience.total_worst << " %");
  CHECK(audience.open() == 0);
  CHECK(audience.wrong == 0);
  CHECK(audience.total_worst < 0.2);
  // A machine that runs other things too may be late once in a while; the tapd is when many are.
  CHECK(audience.untimely <= audience.pieces / 1000);
  CHECK(daemon.stop());
  if (sanitized()) {
    REQUIRE(::sched_setaffinity(0, sizeof anywhere, &anywhere) == 0);
    return;
  }
  const double bare = bare_share(count, {recital.poem.substr(0, thorough ? 100 : 65)});
  MESSAGE("send(2) alone: " << 100 * bare << " % of a core, so that tapd costs " << share / bare << " times that");
  CHECK(share < 0.05);
  CHECK(share < std::max(0.02, 1.3 * bare));  // of little, the daemon's own work is a larger part
  REQUIRE(::sched_setaffinity(0, sizeof anywhere, &anywhere) == 0);
}

TEST_CASE("poetry-transform: Twisted's NetstringReceiver gets Python's lower case, for all of Unicode") {
  const TemporaryDirectory directory;
  if (run({"/usr/bin/python3", "-c", "import twisted"}, directory.path()).code != 0) {
    MESSAGE("python3-twisted is not installed: not tested");
    return;
  }
  write_text(directory / "client.py", R"(
import sys, unicodedata
from twisted.internet import reactor, protocol
from twisted.protocols.basic import NetstringReceiver

# Letters that came after this Python's Unicode are left out, and surrogates, which are no characters.
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != 'Cn']
STEP = 2000
POEMS = ['HERE IS MY POEM', '\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3', '']
POEMS += [' '.join(map(chr, CODES[i:i + STEP])) for i in range(0, len(CODES), STEP)]
# Each character around a capital sigma: whether it is the end of a word.
POEMS += ['\n'.join(
    'A\u03a3%s A\u03a3%sA %s\u03a3 A%s\u03a3' % ((chr(c),) * 4) for c in CODES[i:i + STEP]) for i in range(0, len(CODES), STEP)]

class Client(NetstringReceiver):
    MAX_LENGTH = 1 << 21
    def connectionMade(self):
        self.answers = 0
        for poem in POEMS[:50]:
            self.ask(poem)
        self.sent = 50
    def ask(self, poem):
        self.sendString(b'cummingsify.' + poem.encode())
    def stringReceived(self, string):
        wanted = POEMS[self.answers].lower()
        got = string.decode()
        if got != wanted:
            lines = [(g, w) for g, w in zip(got.split('\n'), wanted.split('\n')) if g != w]
            print('wrong', self.answers, ascii(lines[:3]))
            self.factory.wrong += 1
        self.answers += 1
        if self.sent < len(POEMS):
            self.ask(POEMS[self.sent])
            self.sent += 1
        if self.answers == len(POEMS):
            self.transport.loseConnection()
    def connectionLost(self, reason):
        print(self.answers, 'of', len(POEMS), 'answers,', self.factory.wrong, 'wrong')
        reactor.stop()

class Factory(protocol.ClientFactory):
    protocol = Client
    wrong = 0

reactor.connectTCP('127.0.0.1', int(sys.argv[1]), Factory())
reactor.run()
)");
  Daemon daemon(directory, {"poetry-transform", "--listen", "tcp:0:interface=127.0.0.1", "-o"});
  REQUIRE(daemon.started());
  const Ended client = run({"/usr/bin/python3", "client.py", std::to_string(daemon.port())}, directory.path());
  INFO(client.out << client.err);
  CHECK(client.code == 0);
  CHECK(client.out.find("answers, 0 wrong") != std::string::npos);
  Client bad = Client::tcp(daemon.port());
  REQUIRE(bad.send("6:sing.A,"));
  (void)bad.read_all();
  CHECK(daemon.wait_for_log("there is no transform 'sing'"));
  CHECK(daemon.stop());
}

TEST_CASE("poetry-transform: the longest request keeps others waiting for a moment only") {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"poetry-transform", "--listen", "tcp:0:interface=127.0.0.1", "-o"});
  REQUIRE(daemon.started());
  Client small = Client::tcp(daemon.port());
  for (const char* unit : {"A", "\u03a3\u0301", "\u00c4"}) {
    std::string poem = "cummingsify.";
    while (poem.size() + 8 < std::size_t{1} << 20U) poem += unit;
    Client large = Client::tcp(daemon.port());
    const std::size_t size = poem.size();
    REQUIRE(large.send(std::to_string(size) + ":" + poem));
    double worst_ms = 0;
    for (int i = 0; i < 5; ++i) {
      REQUIRE(large.send(i == 0 ? "," : std::to_string(size) + ":" + poem + ","));
      const auto asked = Clock::now();
      REQUIRE(small.send("7:rot13.A,"));
      CHECK(small.read_exactly(4) == "1:N,");
      worst_ms = std::max(worst_ms, std::chrono::duration<double, std::milli>(Clock::now() - asked).count());
      CHECK(large.read_exactly(100).size() == 100);
      (void)large.read_exactly(std::to_string(size - 12).size() + 1 + size - 12 + 1 - 100);
    }
    MESSAGE("a megabyte of '" << std::string(unit) << "': others waited " << worst_ms << " ms at most");
    if (!sanitized()) CHECK(worst_ms < 100);
  }
  CHECK(daemon.stop());
}

TEST_CASE("poetry-proxy: the poem survives kills and stops, and is told when its server is gone") {
  const TemporaryDirectory directory;
  const TemporaryDirectory server_directory;
  const std::string poem = poem_text(500'000);
  write_poem(server_directory / "poem.txt", poem);
  auto server = std::make_unique<Daemon>(server_directory, poetry_words({}));
  REQUIRE(server->started());
  const std::vector<std::string> words{"poetry-proxy", "--listen", "tcp:0:interface=127.0.0.1", "--upstream",
                                       "tcp:127.0.0.1:" + std::to_string(server->port())};
  {
    Daemon proxy(directory, words);
    REQUIRE(proxy.started());
    CHECK(Client::tcp(proxy.port()).read_all() == poem);
    CHECK(server->stop());
    server.reset();
    send_signal(proxy.worker(), SIGKILL);
    REQUIRE(proxy.wait_for_log("has taken over"));
    CHECK(Client::tcp(proxy.port()).read_all() == poem);
    CHECK(proxy.stop());
  }
  Daemon again(directory, words);
  REQUIRE(again.started());
  CHECK(Client::tcp(again.port()).read_all() == poem);
  CHECK(again.stop());
  const Ended shown = run({program("tap"), "convert", "Poetry-proxy-shutdown.tap", "proxy.json"}, directory.path());
  CHECK(shown.code == 0);
}

TEST_CASE("poetry-proxy: a server that is killed in the middle of a poem leaves nothing in the proxy") {
  const TemporaryDirectory directory;
  const TemporaryDirectory server_directory;
  const std::string poem = poem_text(1000);
  write_poem(server_directory / "poem.txt", poem);
  Daemon server(server_directory, poetry_words({"--mode", "slow", "--delay", "5ms"}));
  REQUIRE(server.started());
  Daemon proxy(directory, {"poetry-proxy", "--listen", "tcp:0:interface=127.0.0.1", "--upstream",
                           "tcp:127.0.0.1:" + std::to_string(server.port())});
  REQUIRE(proxy.started());
  Client client = Client::tcp(proxy.port());
  Client witness = Client::tcp(server.port());
  CHECK(witness.read_exactly(100) == poem.substr(0, 100));
  send_signal(server.worker(), SIGKILL);
  CHECK(client.read_all().empty());
  CHECK(client.failed());
  CHECK(proxy.wait_for_log("the poem broke off after"));
  REQUIRE(server.wait_for_log("has taken over"));
  CHECK(Client::tcp(proxy.port()).read_all() == poem);
  CHECK(proxy.stop());
  CHECK(server.stop());
}
