#include "tests/end_to_end/daemon.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <poll.h>
#include <chrono>
#include <csignal>
#include <sstream>

namespace tap::tests {
namespace {

using Clock = std::chrono::steady_clock;

/// Waits, without polling, until something in the directory changes or `ms` have passed.
void wait_for_change(int watch, int ms) {
  pollfd ready{watch, POLLIN, 0};
  if (::poll(&ready, 1, ms) <= 0) return;
  char events[4096];
  (void)!::read(watch, events, sizeof events);
}

}  // namespace

std::vector<std::uint16_t> ports_in(const std::string& listening) {
  std::vector<std::uint16_t> ports;
  std::istringstream lines(listening);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, 10, "listening ") != 0 || line.find("unix:") != std::string::npos) continue;
    if (line.find_last_not_of("0123456789") + 1 == line.size()) continue;
    ports.push_back(static_cast<std::uint16_t>(std::stoi(line.substr(line.rfind(':') + 1))));
  }
  return ports;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

std::string ask(std::uint16_t port) {
  Client client = Client::tcp(port);
  if (!client.open() || !client.send("\n")) return {};
  return client.read_line();
}

std::vector<std::string> fibonacci_lines() {
  return {"fibonacci", "--listen", "tcp:0:interface=127.0.0.1", "--framing", "line"};
}

Daemon::Daemon(const TemporaryDirectory& directory, const std::vector<std::string>& words,
               const std::vector<std::string>& environment)
    : directory_(directory) {
  std::vector<std::string> command{program("tapd")};
  command.insert(command.end(), words.begin(), words.end());
  launcher_ = run(command, directory.path(), environment);
}

Daemon::~Daemon() {
  const pid_t keeper_pid = keeper();
  if (keeper_pid <= 0) return;
  for (const pid_t child : children_of(keeper_pid)) send_signal(child, SIGKILL);
  send_signal(keeper_pid, SIGKILL);
  (void)wait_until_gone(keeper_pid);
}

std::uint16_t Daemon::port(std::size_t index) const {
  const std::vector<std::uint16_t> ports = ports_in(launcher_.out);
  return index < ports.size() ? ports[index] : 0;
}

pid_t Daemon::keeper() const {
  const std::string text = read_text(directory_ / "tapd.pid");
  return text.empty() ? -1 : static_cast<pid_t>(std::stoi(text));
}

pid_t Daemon::worker() const {
  const auto deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
  const Fd never(::inotify_init1(IN_CLOEXEC));
  while (Clock::now() < deadline) {
    const std::vector<pid_t> children = children_of(keeper());
    if (!children.empty()) return children.back();
    wait_for_change(never.get(), 1);
  }
  return -1;
}

bool Daemon::wait_for_log(const std::string& part, std::size_t times) const {
  const Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ::inotify_add_watch(watch.get(), directory_.path().c_str(), IN_MODIFY | IN_CREATE);
  const auto deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (Clock::now() < deadline) {
    if (count_of(log(), part) >= times) return true;
    wait_for_change(watch.get(), 1000);
  }
  return false;
}

void Daemon::signal(int number) const { send_signal(keeper(), number); }

bool Daemon::stop() {
  const pid_t pid = keeper();
  if (pid <= 1) return false;
  send_signal(pid, SIGTERM);
  return wait_until_gone(pid) && !exists(directory_ / "tapd.pid");
}

}  // namespace tap::tests
