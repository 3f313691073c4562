// From exec to the first answer of a server. In C++, because an interpreter's own start-up would be added to
// both sides of the comparison and so flatter the slower one.
#include "tools/load/load.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace tap::load {
namespace {

constexpr std::size_t kOutputBytesMax = 64 * 1024;
constexpr const char kRequest[] = "is anybody there?\n";
constexpr std::size_t kRequestBytes = sizeof kRequest - 1;

/// Written by the child right before exec, so that the cost of our fork is not counted.
struct Shared {
  std::uint64_t exec_ns = 0;
  int exec_errno = 0;
};

[[noreturn]] void become(const FirstAnswerOptions& options, int output, Shared* shared) {
  if (options.server_cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<unsigned>(options.server_cpu), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
  }
  dup2(output, STDOUT_FILENO);
  shared->exec_ns = now_ns();
  execvp(options.command[0], options.command.data());
  shared->exec_errno = errno;
  _exit(127);
}

/// The port at the end of the first line that starts with "listening ", or -1 if no such line is complete
/// yet.
int port_in(const std::string& output) {
  const std::string word = "listening ";
  std::size_t start = output.starts_with(word) ? 0 : output.find("\n" + word);
  if (start == std::string::npos) {
    return -1;
  }
  const std::size_t end = output.find('\n', start + 1);
  if (end == std::string::npos) {
    return -1;
  }
  const std::size_t digits = output.find_last_not_of("0123456789", end - 1) + 1;
  return digits == end ? -1 : std::atoi(output.c_str() + digits);
}

int wait_for_port(int output, int timeout_s) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() < kOutputBytesMax) {
    pollfd readable{output, POLLIN, 0};
    if (poll(&readable, 1, timeout_s * 1000) <= 0) {
      return -1;
    }
    const ssize_t length = read(output, buffer.data(), buffer.size());
    if (length <= 0) {
      return -1;
    }
    text.append(buffer.data(), static_cast<std::size_t>(length));
    if (const int port = port_in(text); port > 0) {
      return port;
    }
  }
  return -1;
}

bool answers(int connection) {
  std::array<char, kRequestBytes> reply{};
  if (send(connection, kRequest, kRequestBytes, MSG_NOSIGNAL) != static_cast<ssize_t>(kRequestBytes)) {
    return false;
  }
  std::size_t length = 0;
  while (length < kRequestBytes) {
    const ssize_t received = recv(connection, reply.data() + length, kRequestBytes - length, 0);
    if (received <= 0) {
      return false;
    }
    length += static_cast<std::size_t>(received);
  }
  return std::memcmp(reply.data(), kRequest, kRequestBytes) == 0;
}

[[noreturn]] void give_up(pid_t child, const Shared& shared, const char* reason) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (shared.exec_errno != 0) {
    fail(std::string("cannot execute the server: ") + std::strerror(shared.exec_errno));
  }
  fail(reason);
}

}  // namespace

void measure_first_answer(const FirstAnswerOptions& options) {
  void* page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  std::array<int, 2> output{};
  if (page == MAP_FAILED || pipe2(output.data(), O_CLOEXEC) != 0) {
    fail(std::string("pipe: ") + std::strerror(errno));
  }
  auto* shared = new (page) Shared;
  const pid_t child = fork();
  if (child < 0) {
    fail(std::string("fork: ") + std::strerror(errno));
  }
  if (child == 0) {
    become(options, output[1], shared);
  }
  close(output[1]);

  const int port = wait_for_port(output[0], options.timeout_s);
  const std::uint64_t ready_ns = now_ns();
  if (port <= 0) {
    give_up(child, *shared, "the server did not print `listening ... PORT`");
  }
  const int connection = connect_to(port, options.timeout_s);
  const bool answered = answers(connection);
  const std::uint64_t answered_ns = now_ns();
  if (!answered) {
    give_up(child, *shared, "the server did not send back what it was sent");
  }
  close(connection);

  if (!options.daemon) {
    kill(child, SIGTERM);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const auto milliseconds = [&](std::uint64_t then) { return static_cast<double>(then - shared->exec_ns) / 1e6; };
  std::printf("{\"first_answer_ms\": %.3f, \"ready_ms\": %.3f, \"port\": %d, \"exit_code\": %d}\n",
              milliseconds(answered_ns), milliseconds(ready_ns), port, code);
  munmap(page, sizeof(Shared));
}

}  // namespace tap::load
