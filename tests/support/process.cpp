#include "tests/support/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "state/base/assert.hpp"
#include "tests/support/socket.hpp"

namespace tap::tests {
namespace {

struct Pipe {
  Fd read;
  Fd write;
};

Pipe make_pipe() {
  int ends[2];
  TAP_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  for (const std::string& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

/// A descriptor that becomes readable when the process has ended.
Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

bool readable_in_time(int fd) {
  pollfd ready{fd, POLLIN, 0};
  int count = 0;
  do count = ::poll(&ready, 1, kPatienceMs);
  while (count < 0 && errno == EINTR);
  return count > 0;
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

/// Reads both streams to their ends; false when the deadline passed without a byte.
bool read_both(int out_fd, int err_fd, std::string& out, std::string& err) {
  std::array<pollfd, 2> ready{pollfd{out_fd, POLLIN, 0}, pollfd{err_fd, POLLIN, 0}};
  while (ready[0].fd >= 0 || ready[1].fd >= 0) {
    const int count = ::poll(ready.data(), ready.size(), kPatienceMs);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    for (std::size_t i = 0; i < 2; ++i) {
      if (ready[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = ::read(ready[i].fd, buffer, sizeof buffer);
      if (got <= 0) ready[i].fd = -1;
      else (i == 0 ? out : err).append(buffer, static_cast<std::size_t>(got));
    }
  }
  return true;
}

}  // namespace

Process::Process(const std::vector<std::string>& words, const std::string& directory,
                 const std::vector<std::string>& environment) {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  const std::vector<char*> arguments = pointers(words);
  pid_ = ::fork();
  TAP_ASSERT(pid_ >= 0);
  if (pid_ == 0) {
    ::dup2(in.read.get(), STDIN_FILENO);
    ::dup2(out.write.get(), STDOUT_FILENO);
    ::dup2(err.write.get(), STDERR_FILENO);
    for (const std::string& item : environment) ::putenv(const_cast<char*>(item.c_str()));
    if (::chdir(directory.c_str()) == 0) ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  input_ = std::move(in.write);
  output_ = std::move(out.read);
  error_ = std::move(err.read);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      input_(std::move(other.input_)),
      output_(std::move(other.output_)),
      error_(std::move(other.error_)),
      pending_(std::move(other.pending_)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    kill_and_reap();
    pid_ = std::exchange(other.pid_, -1);
    input_ = std::move(other.input_);
    output_ = std::move(other.output_);
    error_ = std::move(other.error_);
    pending_ = std::move(other.pending_);
  }
  return *this;
}

Process::~Process() { kill_and_reap(); }

void Process::kill_and_reap() {
  if (pid_ < 0) return;
  send_signal(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
}

void send_signal(pid_t pid, int number) {
  TAP_ASSERT(pid > 1);
  ::kill(pid, number);
}

void Process::signal(int number) const { send_signal(pid_, number); }

std::string Process::read_line() {
  for (;;) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    char buffer[4096];
    if (!readable_in_time(output_.get())) return {};
    const ssize_t got = ::read(output_.get(), buffer, sizeof buffer);
    if (got <= 0) return {};
    pending_.append(buffer, static_cast<std::size_t>(got));
  }
}

void Process::write_input(const std::string& bytes) const {
  TAP_ASSERT(::write(input_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

Ended Process::wait() {
  Ended ended;
  ended.out = std::exchange(pending_, {});
  const bool in_time =
      read_both(output_.get(), error_.get(), ended.out, ended.err) && readable_in_time(open_pidfd(pid_).get());
  if (!in_time) {
    kill_and_reap();
    return ended;
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  ended.code = code_of(status);
  return ended;
}

Ended run(const std::vector<std::string>& words, const std::string& directory,
          const std::vector<std::string>& environment, const std::string& input) {
  Process process(words, directory, environment);
  if (!input.empty()) process.write_input(input);
  process.close_input();
  return process.wait();
}

bool wait_until_gone(pid_t pid) {
  const Fd handle = open_pidfd(pid);
  return !handle.open() || readable_in_time(handle.get());
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string number = std::to_string(pid);
  std::ifstream list("/proc/" + number + "/task/" + number + "/children");
  std::vector<pid_t> children;
  pid_t child = 0;
  while (list >> child) children.push_back(child);
  return children;
}

long resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    long kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib;
  }
  return -1;
}

std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  std::error_code gone;
  for (std::filesystem::directory_iterator each("/proc/" + std::to_string(pid) + "/fd", gone), end;
       !gone && each != end; each.increment(gone)) {
    ++count;
  }
  return count;
}

double processor_s(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));  // proc(5): what is before may hold anything
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  TAP_ASSERT(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  TAP_ASSERT(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_max;
}

bool long_run() { return std::getenv("TAP_LONG") != nullptr; }

bool sanitized() {
  const char* sanitizers = std::getenv("TAP_SANITIZE");
  return sanitizers != nullptr && sanitizers[0] != '\0';
}

std::string program(const std::string& name) {
  const char* directory = std::getenv("TAP_BIN");
  TAP_ASSERT(directory != nullptr);
  return std::string(directory) + "/" + name;
}

}  // namespace tap::tests
