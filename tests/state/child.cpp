#include "tests/state/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "state/base/assert.hpp"
#include "state/base/fd.hpp"
#include "tests/support/socket.hpp"

namespace tap::tests {
namespace {

[[noreturn]] void run_body(const std::function<std::string()>& body, int output) {
  // The test framework's and the sanitizers' handlers would report a death that is expected.
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS}) ::signal(number, SIG_DFL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::dup2(output, STDERR_FILENO);
  const std::string said = body();
  std::size_t sent = 0;
  while (sent < said.size()) {
    const ssize_t got = ::write(output, said.data() + sent, said.size() - sent);
    if (got <= 0) ::_exit(1);
    sent += static_cast<std::size_t>(got);
  }
  ::_exit(0);
}

/// Reads to the end; false when the deadline passed without a byte.
bool read_to_end(int fd, std::string& said) {
  for (;;) {
    pollfd ready{fd, POLLIN, 0};
    const int count = ::poll(&ready, 1, kPatienceMs);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) return true;
    said.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

ChildEnd in_child(const std::function<std::string()>& body) {
  int ends[2];
  TAP_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t pid = ::fork();
  TAP_ASSERT(pid >= 0);
  if (pid == 0) run_body(body, write_end.get());
  write_end.reset();
  ChildEnd end;
  const bool in_time = read_to_end(read_end.get(), end.said);
  if (!in_time) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (in_time) end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

}  // namespace tap::tests
