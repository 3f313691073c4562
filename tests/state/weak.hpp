// Making this process weak for a while: not allowed to write a directory, or to write more than so many bytes.
#pragma once

#include <cstdint>
#include <string>

namespace tap::tests {

/// While it lives, `directory` cannot be written by this process: mode 0555, and another effective user if this is
/// root. What is in it can be read as far as its own mode says. The directory has to be opened before.
class Unprivileged {
 public:
  explicit Unprivileged(const std::string& directory);
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged();

 private:
  std::string directory_;
  bool was_root_;
};

/// While it lives, no file can be written beyond `bytes`: a disk that is full, as write(2) sees it (EFBIG, not ENOSPC).
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes);
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit();

 private:
  std::uint64_t before_;
  void (*handler_)(int);
};

}  // namespace tap::tests
