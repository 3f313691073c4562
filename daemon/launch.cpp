#include "daemon/launch.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "state/files.hpp"

namespace tap::daemon {
namespace {

// What goes through the pipe: 'R' or 'E', the exit code as a byte, then "stdout text \0 stderr text".
constexpr char kReady = 'R';
constexpr char kFailed = 'E';

std::string notes_text(const std::vector<std::string>& notes) {
  std::string text;
  for (const std::string& note : notes) text += "tapd: note: " + note + "\n";
  return text;
}

std::string error_text(const Error& error) { return "tapd: " + error.message + "\n"; }

void put(int fd, const std::string& text) { (void)!state::write_all(fd, text).ok(); }

/// Reads the report to its end and turns it into output and an exit code.
int await_report(int pipe, pid_t first_child) {
  std::string report;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(pipe, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    report.append(buffer, static_cast<std::size_t>(got));
  }
  int status = 0;
  while (::waitpid(first_child, &status, 0) < 0 && errno == EINTR) continue;
  if (report.size() < 2) {
    print_error(Error{Fault::internal, "the daemon died before it was ready; its log may tell why"});
    return static_cast<int>(Fault::internal);
  }
  const std::size_t split = report.find('\0', 2);
  put(STDERR_FILENO, split == std::string::npos ? "" : report.substr(split + 1));
  put(STDOUT_FILENO, report.substr(2, split == std::string::npos ? std::string::npos : split - 2));
  return report[0] == kReady ? 0 : static_cast<unsigned char>(report[1]);
}

/// daemon(7), step 1: what the daemon was not meant to have (a pipe, another program's lock) it must not hold.
void close_others(const std::vector<int>& meant, int report) {
  Result<Fd> open = state::open_directory(AT_FDCWD, "/proc/self/fd");
  if (!open) return;
  Result<std::vector<std::string>> names = state::list_directory(open->get());
  if (!names) return;
  for (const std::string& name : *names) {
    const int fd = std::atoi(name.c_str());
    const bool wanted = fd <= STDERR_FILENO || fd == report || fd == open->get() ||
                        std::find(meant.begin(), meant.end(), fd) != meant.end();
    if (!wanted) ::close(fd);
  }
}

}  // namespace

void print_error(const Error& error) { put(STDERR_FILENO, error_text(error)); }

void LaunchReport::ready(const std::string& listening, const std::vector<std::string>& notes, bool stdout_is_taken) {
  if (given_) return;
  given_ = true;
  if (!daemon_) {
    put(stdout_is_taken ? STDERR_FILENO : STDOUT_FILENO, listening);
    return;
  }
  put(pipe_.get(), std::string{kReady, '\1'} + listening + '\0' + notes_text(notes));
  pipe_.reset();
}

void LaunchReport::failed(const Error& error) {
  if (given_) return;
  given_ = true;
  if (!daemon_) {
    print_error(error);
    return;
  }
  put(pipe_.get(), std::string{kFailed, static_cast<char>(error.exit_code())} + '\0' + error_text(error));
  pipe_.reset();
}

int daemonize(const std::vector<int>& meant, const std::function<int(LaunchReport&)>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    print_error(errno_error(Fault::internal, "making a pipe"));
    return static_cast<int>(Fault::internal);
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    print_error(errno_error(Fault::temporary, "starting the daemon"));
    return static_cast<int>(Fault::temporary);
  }
  if (child > 0) {
    write_end.reset();
    return await_report(read_end.get(), child);
  }
  // daemon(7): a session of its own, and a second fork so that it can never get a terminal again.
  read_end.reset();
  close_others(meant, write_end.get());
  ::setsid();
  const pid_t daemon = ::fork();
  if (daemon > 0) ::_exit(0);
  LaunchReport report(std::move(write_end));
  if (daemon < 0) {
    report.failed(errno_error(Fault::temporary, "starting the daemon"));
    ::_exit(static_cast<int>(Fault::temporary));
  }
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // At once, not when ready: whoever reads the launcher's output must see its end when the launcher ends.
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), standard);
  int code = static_cast<int>(Fault::internal);
  try {
    code = body(report);
  } catch (const std::exception& thrown) {
    report.failed(Error{Fault::internal, thrown.what()});
  }
  std::exit(code);
}

}  // namespace tap::daemon
