// tap_load: many connections, one thread, one epoll; asks, checks every byte of the answers and counts them.
//
// Echo requests are cut from one random pattern that each connection walks through from a place of its own,
// so that a reply that is late, doubled or another connection's is seen as a difference. Sending copies
// nothing and checking is one memcmp, because a load generator that is slower than the server measures
// itself.
#include "tools/load/load.hpp"

#include "tools/load/histogram.hpp"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>

namespace tap::load {
namespace {

constexpr std::size_t kReceiveBytes = 256 * 1024;
constexpr std::size_t kPatternBytesMin = 64 * 1024;
constexpr std::size_t kPatternRequestsMin = 7;
constexpr int kEventsMax = 512;
constexpr int kPollMs = 100;

struct Connection {
  int socket = -1;
  bool blocked = false;         // waits for the kernel to take more
  std::size_t send_at = 0;      // the pattern's next byte to send
  std::size_t expect_at = 0;    // the pattern's next byte to come back
  std::size_t unsent = 0;       // bytes of started requests that the kernel has not taken
  std::size_t reply_bytes = 0;  // received of the reply that is arriving
  std::uint64_t started = 0;
  std::uint64_t finished = 0;
  std::vector<std::uint64_t> start_ns;  // ring of the requests in flight
};

double cpu_seconds(const std::vector<int>& pids) {
  double ticks = 0;
  for (const int pid : pids) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::size_t name_end = text.rfind(')');  // the name may hold anything, spaces too
    if (name_end == std::string::npos) {
      fail("server process " + std::to_string(pid) + " is not there");
    }
    std::istringstream fields(text.substr(name_end + 1));
    const std::vector<std::string> words{std::istream_iterator<std::string>(fields), {}};
    ticks += std::stod(words.at(11)) + std::stod(words.at(12));  // utime, stime: fields 14 and 15 of proc(5)
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// One run of the load.
///
/// Phases: connecting (one request per connection, so that each is known to be accepted), warming, measuring,
/// draining (started requests are awaited and checked, not counted).
class Load {
 public:
  explicit Load(const LoadOptions& options) : options_(options) { make_pattern(); }

  void run() {
    connect_all();
    measure_from(now_ns());
    phase_ = options_.warmup_s > 0 ? Phase::warming : Phase::measuring;
    for (Connection& connection : connections_) {
      start(connection, options_.depth, now_ns());
    }
    while (in_flight_ > 0) {
      turn();
    }
    if (phase_ != Phase::draining) {
      measure_until(now_ns());
    }
    for (const Connection& connection : connections_) {
      close(connection.socket);
    }
    report();
  }

 private:
  enum class Phase { connecting, warming, measuring, draining };

  void make_pattern() {
    const std::size_t size = options_.size;
    period_ = size * std::max(kPatternRequestsMin, kPatternBytesMin / size);
    pattern_.resize(period_ + size * options_.depth);  // whatever is in flight can be seen in one piece
    std::mt19937 random(20);                           // NOLINT: the same pattern each time
    const bool lines = options_.mode != Mode::echo;
    const std::string& text = options_.text;
    for (std::size_t i = 0; i < period_; ++i) {
      pattern_[i] = lines ? static_cast<char>('a' + random() % 26) : static_cast<char>(random() % 256);
      if (!text.empty() && i % size < text.size()) {
        pattern_[i] = text[i % size];
      }
      if (lines && (i + 1) % size == 0) {
        pattern_[i] = '\n';
      }
    }
    for (std::size_t i = period_; i < pattern_.size(); ++i) {
      pattern_[i] = pattern_[i - period_];
    }
  }

  void connect_all() {
    poller_ = epoll_create1(EPOLL_CLOEXEC);
    connections_.resize(options_.connections);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = connections_[i];
      connection.socket = connect_to(options_.port, options_.timeout_s);
      connection.start_ns.resize(options_.depth);
      connection.send_at = connection.expect_at = i * options_.size % period_;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &connection;
      if (epoll_ctl(poller_, EPOLL_CTL_ADD, connection.socket, &event) != 0) {
        fail(std::string("epoll_ctl: ") + std::strerror(errno));
      }
      start(connection, 1, now_ns());
      while (in_flight_ > 0) {
        turn();
      }
    }
  }

  void turn() {
    std::array<epoll_event, kEventsMax> events;  // NOLINT: filled by the kernel
    const int count = epoll_wait(poller_, events.data(), kEventsMax, options_.spin ? 0 : kPollMs);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      auto& connection = *static_cast<Connection*>(event.data.ptr);
      if ((event.events & EPOLLOUT) != 0) {
        flush(connection);
      }
      if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        receive(connection);
      }
    }
    const std::uint64_t now = now_ns();
    if (count > 0) {
      heard_ns_ = now;
    } else if (now - heard_ns_ > static_cast<std::uint64_t>(options_.timeout_s) * 1'000'000'000U) {
      fail("no answer for " + std::to_string(options_.timeout_s) + " s");
    }
    if (phase_ == Phase::warming && now >= measure_start_ns_ + seconds_ns(options_.warmup_s)) {
      measure_from(now);
      phase_ = Phase::measuring;
    } else if (phase_ == Phase::measuring && options_.seconds > 0 &&
               now >= measure_start_ns_ + seconds_ns(options_.seconds)) {
      measure_until(now);
      phase_ = Phase::draining;
    }
  }

  void start(Connection& connection, std::uint64_t count, std::uint64_t now) {
    if (phase_ == Phase::draining) {
      return;
    }
    if (phase_ != Phase::connecting && options_.requests > 0) {
      count = std::min(count, options_.requests - requested_);
      requested_ += count;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      connection.start_ns[connection.started++ % options_.depth] = now;
    }
    in_flight_ += count;
    connection.unsent += count * options_.size;
    if (!connection.blocked) {
      flush(connection);
    }
  }

  void flush(Connection& connection) {
    while (connection.unsent > 0) {
      const ssize_t sent =
          send(connection.socket, pattern_.data() + connection.send_at, connection.unsent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) {
        break;
      }
      if (sent < 0) {
        fail(std::string("send: ") + std::strerror(errno));
      }
      connection.unsent -= static_cast<std::size_t>(sent);
      connection.send_at = (connection.send_at + static_cast<std::size_t>(sent)) % period_;
    }
    if (connection.blocked != (connection.unsent > 0)) {
      connection.blocked = !connection.blocked;
      epoll_event event{};
      event.events = connection.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
      event.data.ptr = &connection;
      epoll_ctl(poller_, EPOLL_CTL_MOD, connection.socket, &event);
    }
  }

  void receive(Connection& connection) {
    const ssize_t received = recv(connection.socket, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    if (received <= 0) {
      fail(std::string("the server ended a connection: ") + (received == 0 ? "end of file" : std::strerror(errno)));
    }
    const auto length = static_cast<std::size_t>(received);
    const std::uint64_t replies =
        options_.mode == Mode::ask ? count_lines(connection, length) : compare(connection, length);
    finish(connection, replies);
  }

  /// Whole replies among the received bytes, which have to be the next ones of the pattern.
  std::uint64_t compare(Connection& connection, std::size_t length) {
    const std::uint64_t owed = connection.started - connection.finished;
    if (connection.reply_bytes + length > owed * options_.size) {
      fail("more came back than was sent");
    }
    if (std::memcmp(buffer_.data(), pattern_.data() + connection.expect_at, length) != 0) {
      fail("what came back is not what was sent");
    }
    connection.expect_at = (connection.expect_at + length) % period_;
    const std::size_t bytes = connection.reply_bytes + length;
    connection.reply_bytes = bytes % options_.size;
    return bytes / options_.size;
  }

  /// Whole lines among the received bytes; none may be empty, nor more than were asked for.
  std::uint64_t count_lines(Connection& connection, std::size_t length) {
    std::uint64_t replies = 0;
    const char* at = buffer_.data();
    const char* const end = at + length;
    while (at != end) {
      const auto* newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
      connection.reply_bytes += static_cast<std::size_t>((newline != nullptr ? newline : end) - at);
      if (newline == nullptr) {
        break;
      }
      if (connection.reply_bytes == 0) {
        fail("an empty reply");
      }
      connection.reply_bytes = 0;
      ++replies;
      at = newline + 1;
    }
    if (replies > connection.started - connection.finished) {
      fail("more replies than requests");
    }
    return replies;
  }

  void finish(Connection& connection, std::uint64_t replies) {
    if (replies == 0) {
      return;
    }
    const std::uint64_t now = now_ns();
    for (std::uint64_t i = 0; i < replies; ++i) {
      const std::uint64_t began = connection.start_ns[connection.finished++ % options_.depth];
      if (phase_ == Phase::measuring) {
        latency_.add(now - began);
        ++counted_;
      }
    }
    in_flight_ -= replies;
    if (phase_ != Phase::connecting) {
      start(connection, replies, now);
    }
  }

  static std::uint64_t seconds_ns(double seconds) { return static_cast<std::uint64_t>(seconds * 1e9); }

  void measure_from(std::uint64_t now) {
    server_cpu_s_ = cpu_seconds(options_.server_pids);
    own_cpu_s_ = own_cpu_seconds();
    measure_start_ns_ = now;
  }

  void measure_until(std::uint64_t now) {
    server_cpu_s_ = cpu_seconds(options_.server_pids) - server_cpu_s_;
    own_cpu_s_ = own_cpu_seconds() - own_cpu_s_;
    measured_s_ = static_cast<double>(now - measure_start_ns_) / 1e9;
  }

  void report() const {
    std::printf(
        "{\"requests\": %llu, \"seconds\": %.6f, \"requests_per_second\": %.1f, \"p50_us\": %.1f, "
        "\"p99_us\": %.1f, \"load_cpu_seconds\": %.3f",
        static_cast<unsigned long long>(counted_), measured_s_, static_cast<double>(counted_) / measured_s_,
        latency_.percentile_us(50), latency_.percentile_us(99), own_cpu_s_);
    if (!options_.server_pids.empty()) {
      std::printf(", \"server_cpu_seconds\": %.2f", server_cpu_s_);
    }
    std::printf("}\n");
  }

  const LoadOptions& options_;
  Phase phase_ = Phase::connecting;
  int poller_ = -1;
  std::size_t period_ = 0;  // the pattern repeats after so many bytes
  std::vector<char> pattern_;
  std::vector<char> buffer_ = std::vector<char>(kReceiveBytes);
  std::vector<Connection> connections_;
  std::uint64_t in_flight_ = 0;
  std::uint64_t requested_ = 0;  // started of options_.requests
  std::uint64_t counted_ = 0;
  std::uint64_t heard_ns_ = now_ns();
  std::uint64_t measure_start_ns_ = 0;
  double measured_s_ = 0;
  double server_cpu_s_ = 0;
  double own_cpu_s_ = 0;
  Histogram latency_;
};

}  // namespace

void run_load(const LoadOptions& options) { Load(options).run(); }

}  // namespace tap::load
