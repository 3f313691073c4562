// tap_raw_echo: the peer that tapd's echo service is measured against.
//
// An echo server as one writes it by hand on epoll: level-triggered, non-blocking, one buffer for all
// connections, one recv and one send per wake-up, no allocation while the peers read what they are sent. It
// keeps no state, logs nothing and has no limits; what tapd costs beyond it is the price of being a daemon.
//
// Binds 127.0.0.1 on a free port and prints `listening PORT`. Ends with SIGTERM.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kEventsMax = 512;
constexpr int kBacklog = 4096;
constexpr size_t kBufferBytes = 64 * 1024;

/// What a connection could not take yet. While there is any, the connection is not read.
struct Unsent {
  char* bytes;
  size_t length;
  size_t sent;
};

char buffer[kBufferBytes];
Unsent* unsent = nullptr;  // by descriptor; only touched when a send comes up short
int poller = -1;

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

void watch(int descriptor, uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.fd = descriptor;
  if (epoll_ctl(poller, operation, descriptor, &event) != 0) {
    fail("epoll_ctl");
  }
}

void close_connection(int descriptor) {
  free(unsent[descriptor].bytes);
  unsent[descriptor] = Unsent{};
  close(descriptor);
}

void keep_unsent(int descriptor, const char* bytes, size_t length) {
  char* copy = static_cast<char*>(malloc(length));
  if (copy == nullptr) {
    fail("malloc");
  }
  memcpy(copy, bytes, length);
  unsent[descriptor] = Unsent{copy, length, 0};
  watch(descriptor, EPOLLOUT, EPOLL_CTL_MOD);
}

void on_writable(int descriptor) {
  Unsent& rest = unsent[descriptor];
  const ssize_t sent = send(descriptor, rest.bytes + rest.sent, rest.length - rest.sent, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      close_connection(descriptor);
    }
    return;
  }
  rest.sent += static_cast<size_t>(sent);
  if (rest.sent == rest.length) {
    free(rest.bytes);
    rest = Unsent{};
    watch(descriptor, EPOLLIN, EPOLL_CTL_MOD);
  }
}

void on_readable(int descriptor) {
  const ssize_t received = recv(descriptor, buffer, sizeof buffer, 0);
  if (received <= 0) {
    if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
      close_connection(descriptor);
    }
    return;
  }
  const auto length = static_cast<size_t>(received);
  ssize_t sent = send(descriptor, buffer, length, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      close_connection(descriptor);
      return;
    }
    sent = 0;
  }
  if (static_cast<size_t>(sent) < length) {
    keep_unsent(descriptor, buffer + sent, length - static_cast<size_t>(sent));
  }
}

void on_connections(int listener) {
  for (;;) {
    const int descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      return;  // none left, or no descriptors: then the level-triggered poll asks again
    }
    watch(descriptor, EPOLLIN, EPOLL_CTL_ADD);
  }
}

int listen_on_loopback() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) {
    fail("socket");
  }
  const int on = 1;
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted connections inherit it
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, size) != 0 || listen(listener, kBacklog) != 0 ||
      getsockname(listener, generic, &size) != 0) {
    fail("listen");
  }
  printf("listening %d\n", static_cast<int>(ntohs(address.sin_port)));
  fflush(stdout);
  return listener;
}

}  // namespace

int main() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    fail("getrlimit");
  }
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  unsent = static_cast<Unsent*>(calloc(limit.rlim_cur, sizeof(Unsent)));
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (unsent == nullptr || poller < 0) {
    fail("start");
  }
  const int listener = listen_on_loopback();
  watch(listener, EPOLLIN, EPOLL_CTL_ADD);

  epoll_event events[kEventsMax];
  for (;;) {
    const int count = epoll_wait(poller, events, kEventsMax, -1);
    for (int i = 0; i < count; ++i) {
      const int descriptor = events[i].data.fd;
      if (descriptor == listener) {
        on_connections(listener);
      } else if ((events[i].events & EPOLLOUT) != 0) {
        on_writable(descriptor);
      } else if (unsent[descriptor].bytes != nullptr) {
        close_connection(descriptor);  // EPOLLERR or EPOLLHUP with output that nobody will take
      } else {
        on_readable(descriptor);
      }
    }
  }
}
