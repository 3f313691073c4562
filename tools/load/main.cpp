// tap_load's command line.
#include "tools/load/load.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace tap::load {

void fail(const std::string& sentence) {
  std::fprintf(stderr, "tap_load: %s\n", sentence.c_str());
  std::exit(kExitWrong);
}

int connect_to(int port, int timeout_s) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) {
    fail(std::string("socket: ") + std::strerror(errno));
  }
  const int on = 1;
  const timeval timeout{timeout_s, 0};
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    fail("connect to port " + std::to_string(port) + ": " + std::strerror(errno));
  }
  return connection;
}

namespace {

constexpr std::size_t kInFlightBytesMax = 64 * 1024 * 1024;  // of one connection
constexpr std::size_t kConnectionsMax = 60'000;
constexpr double kSecondsMax = 1e6;
constexpr int kTimeoutMaxS = 100'000;
constexpr int kCpuMax = 1023;

constexpr const char kHelp[] =
    R"(tap_load --port P (--seconds S | --requests N) [options]     load a server on 127.0.0.1
tap_load --first-answer [options] -- COMMAND...              time a server from exec to its first answer

Prints one JSON object. Exits 1 if a reply is wrong, refused or late.

  --connections N   connections, all open before the clock starts (1); each asks once first, uncounted
  --size BYTES      of one request, its newline included (64; 2 with --mode ask)
  --depth D         requests in flight per connection, written together (1)
  --seconds S       measure for so long
  --warmup S        uncounted seconds before that (0)
  --requests N      measure so many requests instead
  --mode MODE       echo: any bytes, expects the same back (default)
                    line: lines, expects the same back
                    ask:  lines, expects one line that is not empty for each
  --text TEXT       with --mode ask: the line that is asked each time
  --server-pid PID  also tell the CPU seconds of this process; repeatable
  --spin            poll without sleeping
  --timeout S       without any answer, give up (10)
  --first-answer    COMMAND prints `listening ... PORT` and echoes
  --server-cpu N    pin COMMAND to a processor
  --daemon          COMMAND ends by itself and leaves the server running
)";

struct CommandLine {
  LoadOptions load;
  FirstAnswerOptions first_answer;
  bool is_first_answer = false;
};

[[noreturn]] void refuse_usage(const std::string& option, const std::string& reason) {
  std::fprintf(stderr, "tap_load: %s: %s (--help tells more)\n", option.c_str(), reason.c_str());
  std::exit(kExitUsage);
}

/// The word after an option.
struct Value {
  std::string option;
  std::string text;

  template <typename Number>
  void to(Number& number, Number least, Number most) const {
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || stopped != end || number < least || number > most) {
      refuse_usage(option, "'" + text + "' is not a number it takes");
    }
  }
  void to(Mode& mode) const {
    if (text != "echo" && text != "line" && text != "ask") {
      refuse_usage(option, "echo, line or ask");
    }
    mode = text == "echo" ? Mode::echo : text == "line" ? Mode::line : Mode::ask;
  }
};

struct ValueOption {
  std::string_view name;
  void (*take)(CommandLine& line, const Value& value);
};

constexpr std::array kValueOptions{
    ValueOption{"--port", [](CommandLine& line, const Value& value) { value.to(line.load.port, 1, 65535); }},
    ValueOption{"--connections",
                [](CommandLine& line, const Value& value) {
                  value.to<std::size_t>(line.load.connections, 1, kConnectionsMax);
                }},
    ValueOption{"--size", [](CommandLine& line,
                             const Value& value) { value.to<std::size_t>(line.load.size, 1, kInFlightBytesMax); }},
    ValueOption{"--depth", [](CommandLine& line,
                              const Value& value) { value.to<std::size_t>(line.load.depth, 1, kInFlightBytesMax); }},
    ValueOption{"--seconds",
                [](CommandLine& line, const Value& value) { value.to(line.load.seconds, 0.001, kSecondsMax); }},
    ValueOption{"--warmup",
                [](CommandLine& line, const Value& value) { value.to(line.load.warmup_s, 0.0, kSecondsMax); }},
    ValueOption{"--requests", [](CommandLine& line,
                                 const Value& value) { value.to<std::uint64_t>(line.load.requests, 1, UINT64_MAX); }},
    ValueOption{"--text", [](CommandLine& line, const Value& value) { line.load.text = value.text; }},
    ValueOption{"--mode", [](CommandLine& line, const Value& value) { value.to(line.load.mode); }},
    ValueOption{
        "--server-pid",
        [](CommandLine& line, const Value& value) { value.to(line.load.server_pids.emplace_back(), 1, INT32_MAX); }},
    ValueOption{"--timeout",
                [](CommandLine& line, const Value& value) {
                  value.to(line.load.timeout_s, 1, kTimeoutMaxS);
                  line.first_answer.timeout_s = line.load.timeout_s;
                }},
    ValueOption{"--server-cpu",
                [](CommandLine& line, const Value& value) { value.to(line.first_answer.server_cpu, 0, kCpuMax); }},
};

/// Takes an option that stands alone; false if it is none.
bool take_bare_option(CommandLine& line, std::string_view name) {
  if (name == "--help") {
    std::fputs(kHelp, stdout);
    std::exit(0);
  }
  if (name == "--spin") {
    line.load.spin = true;
  } else if (name == "--daemon") {
    line.first_answer.daemon = true;
  } else if (name == "--first-answer") {
    line.is_first_answer = true;
  } else {
    return false;
  }
  return true;
}

CommandLine parse(int argc, char** argv) {
  CommandLine line;
  int at = 1;
  for (; at < argc && std::string_view(argv[at]) != "--"; ++at) {
    const std::string_view name = argv[at];
    if (take_bare_option(line, name)) {
      continue;
    }
    const auto* const known = std::find_if(kValueOptions.begin(), kValueOptions.end(),
                                           [&](const ValueOption& option) { return option.name == name; });
    if (known == kValueOptions.end()) {
      refuse_usage(std::string(name), "there is no such option");
    }
    if (++at == argc) {
      refuse_usage(std::string(name), "needs a value");
    }
    known->take(line, Value{std::string(name), argv[at]});
  }
  if (at < argc) {
    line.first_answer.command.assign(argv + at + 1, argv + argc);
  }
  line.first_answer.command.push_back(nullptr);
  return line;
}

/// Ends the program if the options do not make sense together.
void check(CommandLine& line) {
  LoadOptions& load = line.load;
  const bool has_command = line.first_answer.command.size() > 1;
  if (line.is_first_answer != has_command) {
    refuse_usage("--first-answer", "it and a command come together");
  }
  if (line.is_first_answer) {
    return;
  }
  if (!load.text.empty()) {
    if (load.mode != Mode::ask || load.size != 0) {
      refuse_usage("--text", "goes with --mode ask and without --size");
    }
    load.size = load.text.size() + 1;
  }
  if (load.size == 0) {
    load.size = load.mode == Mode::ask ? 2 : 64;
  }
  if (load.port == 0) {
    refuse_usage("--port", "is needed");
  }
  if ((load.seconds > 0) == (load.requests > 0)) {
    refuse_usage("--seconds, --requests", "one of them");
  }
  if (load.warmup_s > 0 && load.requests > 0) {
    refuse_usage("--warmup", "only with --seconds");
  }
  if (load.size > kInFlightBytesMax / load.depth) {
    refuse_usage("--size, --depth", "more than 64 MiB in flight on one connection");
  }
}

}  // namespace
}  // namespace tap::load

int main(int argc, char** argv) {
  using namespace tap::load;
  CommandLine line = parse(argc, argv);
  check(line);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (line.is_first_answer) {
    measure_first_answer(line.first_answer);
  } else {
    run_load(line.load);
  }
}
