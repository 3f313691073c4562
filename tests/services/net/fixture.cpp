#include "tests/services/net/fixture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "state/base/assert.hpp"
#include "tests/support/socket.hpp"

namespace tap::tests {

// As the daemon does: a peer that has gone is an error of write(2), not a signal.
Loop::Loop() { ::signal(SIGPIPE, SIG_IGN); }

void Loop::turn(int count) {
  for (int i = 0; i < count; ++i) reactor.turn(false);
}

bool Loop::turn_until(const std::function<bool()>& holds) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
  for (;;) {
    // Twice: what a turn starts to wait for is known to the kernel in the next one.
    turn(2);
    if (holds()) return true;
    if (Clock::now() > deadline) return false;
    // Woken by whatever the loop waits for; now and then without, because `holds` may look at more than the loop.
    pollfd ready{uv_backend_fd(reactor.loop()), POLLIN, 0};
    ::poll(&ready, 1, 5);
  }
}

Script echo_script() {
  Script script;
  script.data = [](net::Transport& transport, std::string_view data) { transport.write(data); };
  return script;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  TAP_ASSERT(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

Server::Server(Loop& loop, net::Factory& factory, net::ListenerLimits limits, const std::string& endpoint)
    : listener_(std::make_unique<net::Listener>(loop.reactor, factory, "served", limits)) {
  Result<net::Endpoint> parsed = net::parse_endpoint(endpoint);
  TAP_ASSERT(parsed.ok());
  Result<net::BoundEndpoint> bound = net::bind_endpoint(*parsed, std::nullopt);
  TAP_ASSERT(bound.ok());
  const bool tcp = parsed->type == net::Endpoint::Type::tcp;
  if (tcp) port_ = port_of(bound->fd.get());
  const net::StreamKind kind = tcp ? net::StreamKind::tcp : net::StreamKind::unix_socket;
  TAP_ASSERT(listener_->listen(std::move(bound->fd), kind, parsed->backlog).ok());
}

Peer::Peer(Fd fd) : fd_(std::move(fd)) {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  TAP_ASSERT(flags >= 0 && ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) == 0);
}

namespace {

Fd connect_tcp(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
  return fd;
}

}  // namespace

bool can_connect(std::uint16_t port) { return connect_tcp(port).open(); }

Peer Peer::tcp(std::uint16_t port) { return Peer(connect_tcp(port)); }

Peer Peer::unix_socket(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
  TAP_ASSERT(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  return Peer(std::move(fd));
}

std::size_t Peer::send_some(std::string_view bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t took = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (took < 0 && errno == EINTR) continue;
    if (took <= 0) break;
    sent += static_cast<std::size_t>(took);
  }
  return sent;
}

void Peer::send(std::string_view bytes) { TAP_ASSERT(send_some(bytes) == bytes.size()); }

void Peer::finish_sending() { TAP_ASSERT(::shutdown(fd_.get(), SHUT_WR) == 0); }

std::size_t Peer::read_now(std::size_t bytes_max) {
  std::size_t total = 0;
  std::string buffer(std::min<std::size_t>(bytes_max, std::size_t{256} * 1024), '\0');
  while (total < bytes_max && !gone()) {
    const std::size_t wanted = std::min(buffer.size(), bytes_max - total);
    const ssize_t got = ::recv(fd_.get(), buffer.data(), wanted, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0) error_ = errno;
    if (got == 0) ended_ = true;
    if (got <= 0) break;
    received_.append(buffer, 0, static_cast<std::size_t>(got));
    total += static_cast<std::size_t>(got);
  }
  return total;
}

void Peer::reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fd_.reset();
}

LoneStream::LoneStream(Loop& loop, const Script& script, int type) {
  int ends[2];
  TAP_ASSERT(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
  peer_ = std::make_unique<Peer>(Fd(ends[1]));
  net::StreamOwner& owner = *this;
  stream_ = std::make_unique<net::StreamTransport>(loop.reactor, owner);
  TAP_ASSERT(stream_->open(Fd(ends[0]), net::StreamKind::unix_socket).ok());
  stream_->start(std::make_unique<ScriptedProtocol>(script));
}

LoneStream::LoneStream(Loop& loop, const Script& script) : LoneStream(loop, script, SOCK_STREAM) {}

LoneStream::~LoneStream() = default;

ChildEnd in_child(const std::function<void()>& code) {
  int ends[2];
  TAP_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t child = ::fork();
  TAP_ASSERT(child >= 0);
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::alarm(kPatienceMs / 1000);
    // The test runner would tell of them as of crashes of its own.
    for (const int crash : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM}) ::signal(crash, SIG_DFL);
    ::dup2(write_end.get(), STDERR_FILENO);
    code();
    ::_exit(0);
  }
  write_end.reset();
  ChildEnd end;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(read_end.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    end.err.append(buffer, static_cast<std::size_t>(got));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status)) end.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

std::string numbered_bytes(std::size_t size) {
  std::string bytes;
  bytes.reserve(size + 16);
  for (std::size_t i = 0; bytes.size() < size; ++i) bytes += std::to_string(i) + ' ';
  bytes.resize(size);
  return bytes;
}

}  // namespace tap::tests
