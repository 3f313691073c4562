// Compactor: a helper process that folds the journal into the next archive while the worker goes on.
//
// No fork of the worker and no pause: it reads what the store has. Killed or out of space at any point it is harmless:
// until its archive has got its name nothing has happened, and afterwards everything has.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "daemon/plan.hpp"
#include "services/compaction.hpp"
#include "state/base/fd.hpp"
#include "state/base/result.hpp"

namespace tap::daemon {

/// What became of a compaction, in the form in which it goes from process to process.
struct CompactionResult {
  bool done = false;
  std::uint64_t file_bytes = 0;
  std::string digest;  ///< of the archive, hexadecimal
  std::string why;     ///< when it is not done: a sentence

  [[nodiscard]] std::string text() const;
  [[nodiscard]] static CompactionResult parse(const std::string& text);
};

/// The parent's side. Thread: one. Lifetime: a process that still runs is killed with the object.
class Compactor {
 public:
  Compactor() = default;
  Compactor(const Compactor&) = delete;
  Compactor& operator=(const Compactor&) = delete;
  ~Compactor() { stop(); }

  /// Starts it as the running image, with the plan's store and log. Errors: temporary, internal.
  [[nodiscard]] Result<void> start(const WorkerPlan& plan, const services::CompactionOrder& order);
  [[nodiscard]] bool running() const { return pid_ > 0; }
  /// Becomes readable when it has ended.
  [[nodiscard]] int fd() const { return result_.get(); }
  /// Waits for its end and tells what came of it.
  [[nodiscard]] CompactionResult finish();
  /// Kills it and waits for its end.
  void stop();

 private:
  pid_t pid_ = -1;
  Fd result_;
};

/// The helper process. The exit code.
[[nodiscard]] int compactor_main(int plan_fd, int result_fd, const std::string& order, services::Registry& kinds);

}  // namespace tap::daemon
