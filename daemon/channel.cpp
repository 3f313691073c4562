#include "daemon/channel.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace tap::daemon {
namespace {

constexpr std::size_t kHeadBytes = 2;  // type, fault

union ControlBuffer {
  cmsghdr aligned;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

Result<std::pair<Channel, Channel>> Channel::make_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return errno_error(Fault::internal, "connecting keeper and worker");
  }
  return std::pair(Channel(Fd(ends[0])), Channel(Fd(ends[1])));
}

void Channel::send(Message message) const {
  std::string bytes;
  bytes += static_cast<char>(message.type);
  bytes += static_cast<char>(message.fault);
  bytes += message.text.substr(0, Message::kTextBytesMax);
  iovec part{bytes.data(), bytes.size()};
  msghdr head{};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  ControlBuffer control{};
  if (message.fd.open()) {
    head.msg_control = control.bytes;
    head.msg_controllen = sizeof control.bytes;
    cmsghdr* item = CMSG_FIRSTHDR(&head);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = message.fd.get();
    std::memcpy(CMSG_DATA(item), &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do sent = ::sendmsg(fd_.get(), &head, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
}

std::optional<Message> Channel::receive(bool& closed) const {
  std::string bytes(kHeadBytes + Message::kTextBytesMax, '\0');
  iovec part{bytes.data(), bytes.size()};
  ControlBuffer control{};
  msghdr head{};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control.bytes;
  head.msg_controllen = sizeof control.bytes;
  ssize_t got = 0;
  do got = ::recvmsg(fd_.get(), &head, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  if (got < static_cast<ssize_t>(kHeadBytes)) {
    closed = true;
    return std::nullopt;
  }
  Message message;
  const cmsghdr* item = CMSG_FIRSTHDR(&head);
  if (item != nullptr && item->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(item), sizeof fd);
    message.fd.reset(fd);
  }
  message.type = static_cast<Message::Type>(bytes[0]);
  message.fault = static_cast<Fault>(bytes[1]);
  message.text = bytes.substr(kHeadBytes, static_cast<std::size_t>(got) - kHeadBytes);
  return message;
}

}  // namespace tap::daemon
