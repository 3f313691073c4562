#include "services/net/inherited_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "services/net/endpoint_fields.hpp"

namespace tap::net {
namespace {

constexpr unsigned kPidMax = 4'194'304;  // the kernel's own limit, PID_MAX_LIMIT

std::string domain_of(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return "no socket";
  if (domain == AF_INET) return "INET";
  if (domain == AF_INET6) return "INET6";
  return domain == AF_UNIX ? "UNIX" : "a domain of another kind";
}

}  // namespace

InheritedSockets::InheritedSockets(const char* pid, const char* count, const char* names, pid_t self) {
  if (pid == nullptr || count == nullptr) return;
  const auto meant = endpoint_number(pid, 10, kPidMax);
  const auto number = endpoint_number(count, 10, kSocketsMax);
  if (!meant || static_cast<pid_t>(*meant) != self || !number) return;
  std::string_view rest = names == nullptr ? "" : names;
  for (unsigned i = 0; i < *number; ++i) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view name = rest.substr(0, end);
    names_.emplace_back(name.empty() ? "unknown" : name);  // as sd_listen_fds_with_names(3) calls them
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

InheritedSockets InheritedSockets::take_from_environment() {
  InheritedSockets sockets(std::getenv("LISTEN_PID"), std::getenv("LISTEN_FDS"), std::getenv("LISTEN_FDNAMES"),
                           ::getpid());
  for (const char* variable : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(variable);
  for (const int fd : sockets.descriptors()) {
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) continue;
    // A number that is not open will be that of a file of ours.
    sockets.names_.resize(static_cast<std::size_t>(fd - kFirstDescriptor));
    break;
  }
  return sockets;
}

Result<int> InheritedSockets::find(const Endpoint& endpoint) const {
  unsigned nth = 0;
  std::string all;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    all += (all.empty() ? "" : ", ") + names_[i];
    if (!endpoint.socket_name.empty() && names_[i] != endpoint.socket_name) continue;
    if (nth++ != endpoint.socket_index) continue;
    const int fd = kFirstDescriptor + static_cast<int>(i);
    const std::string domain = domain_of(fd);
    if (endpoint.socket_domain.empty() || domain == endpoint.socket_domain) return fd;
    return Error{Fault::unavailable,
                 "cannot use the socket of " + endpoint.text + ": it is " + domain + ", not " + endpoint.socket_domain};
  }
  return Error{Fault::unavailable,
               "cannot use the socket of " + endpoint.text + ": " +
                   (names_.empty() ? "systemd has handed over none (LISTEN_FDS); is the .socket unit started?"
                                   : "systemd has handed over " + all)};
}

std::vector<int> InheritedSockets::descriptors() const {
  std::vector<int> all;
  for (std::size_t i = 0; i < names_.size(); ++i) all.push_back(kFirstDescriptor + static_cast<int>(i));
  return all;
}

const std::string& InheritedSockets::name(int descriptor) const {
  const auto index = static_cast<std::size_t>(descriptor - kFirstDescriptor);
  TAP_ASSERT(descriptor >= kFirstDescriptor && index < names_.size());
  return names_[index];
}

}  // namespace tap::net
