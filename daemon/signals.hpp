// Signals as something to read: signalfd(2), so that no code of ours runs inside a handler.
#pragma once

#include <initializer_list>
#include <optional>

#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

/// Keeps signals pending for a SignalReader to come.
void block_signals(std::initializer_list<int> signals);

/// The signals in it are blocked for the whole process from open() on; a child must set its own mask.
/// REQUIRES: opened before the first thread is.
class SignalReader {
 public:
  SignalReader() = default;
  [[nodiscard]] static Result<SignalReader> open(std::initializer_list<int> signals);

  /// The next signal's number; nullopt when there is none now.
  [[nodiscard]] std::optional<int> next() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit SignalReader(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace tap::daemon
