// Channel: what keeper and worker say to each other, over a socket pair that keeps messages whole (SOCK_SEQPACKET).
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

struct Message {
  enum class Type : char {
    // from the keeper
    stop = 's',        ///< drain, save, end
    force = 'f',       ///< the same without waiting for unsent bytes
    reopen_log = 'l',  ///< a descriptor comes along
    report_status = 'q',
    reload = 'h',     ///< the services read their files again
    compacted = 'C',  ///< text: what came of the compaction
    // from the worker
    ready = 'R',            ///< recovered and accepting; text: what the operator should know, a sentence a line
    failed = 'E',           ///< could not start, or could not save; fault and text say why
    compact = 'c',          ///< text: the order
    stop_compaction = 'x',  ///< answered with compacted, like its end
    stopped = 'S',  ///< everything is saved; text says which generation, or is empty when nothing is to be saved
  };
  static constexpr std::size_t kTextBytesMax = std::size_t{60} * 1024;

  Type type = Type::stop;
  Fault fault = Fault::internal;  ///< for Type::failed
  std::string text;
  Fd fd;
};

/// One end. Thread: one at a time. A message to an end that is gone is dropped: its owner sees the end elsewhere.
class Channel {
 public:
  Channel() = default;
  explicit Channel(Fd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] static Result<std::pair<Channel, Channel>> make_pair();

  void send(Message message) const;
  /// The next message, nullopt when there is none now. `closed` is set when the other end is gone.
  [[nodiscard]] std::optional<Message> receive(bool& closed) const;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool open() const { return fd_.open(); }

 private:
  Fd fd_;
};

}  // namespace tap::daemon
