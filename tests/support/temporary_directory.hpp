// TemporaryDirectory: a directory of a test's own, gone with the test.
#pragma once

#include <string>

namespace tap::tests {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// The whole file; empty when it cannot be read.
[[nodiscard]] std::string read_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);
[[nodiscard]] bool exists(const std::string& path);

}  // namespace tap::tests
