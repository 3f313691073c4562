#include "services/net/directory_watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace tap::net {
namespace {

constexpr std::uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ATTRIB |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t kEndOfIt = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT;
constexpr std::size_t kBufferBytes = std::size_t{16} * 1024;
/// What a busy directory may take of one turn.
constexpr int kReadsMax = 4;

}  // namespace

Result<std::unique_ptr<DirectoryWatch>> DirectoryWatch::open(Reactor& reactor, const std::string& path,
                                                             std::function<void()> changed) {
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd.open()) return errno_error(Fault::unavailable, "watching " + directory);
  if (::inotify_add_watch(fd.get(), directory.c_str(), kEvents) < 0) {
    const Fault fault = errno == ENOENT || errno == ENOTDIR ? Fault::no_input : Fault::unavailable;
    return errno_error(fault, "watching " + directory);
  }
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return std::unique_ptr<DirectoryWatch>(new DirectoryWatch(reactor, std::move(fd), name, std::move(changed)));
}

DirectoryWatch::DirectoryWatch(Reactor& reactor, Fd fd, std::string name, std::function<void()> changed)
    : reactor_(reactor),
      fd_(std::move(fd)),
      name_(std::move(name)),
      changed_(std::move(changed)),
      watch_(reactor, fd_.get(), [this] { read_events(); }) {}

/// What the events say beyond "look again" is not used: by the time they are read it may be wrong.
void DirectoryWatch::read_events() {
  alignas(inotify_event) char buffer[kBufferBytes];
  bool ours = false;
  for (int i = 0; i < kReadsMax; ++i) {
    const ssize_t got = ::read(fd_.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      const char* name = buffer + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & kEndOfIt) != 0) over_ = true;
      // Without a name it is about the directory, or events were lost.
      if (event.len == 0 || std::string_view(name).substr(0, name_.size()) == name_) ours = true;
    }
  }
  if (!ours || std::exchange(to_tell_, true)) return;
  telling_ = reactor_.call_later(0, [this] {
    to_tell_ = false;
    const std::function<void()> told = changed_;  // the call may end the watch
    told();
  });
}

}  // namespace tap::net
