// Plugins: the shared objects whose kinds a program has besides its own.
//
// A plugin is trusted code: it runs in the keeper too, as whoever started tapd. What is checked keeps accidents out,
// and files that somebody else could have written.
//
// The file is copied into sealed memory when it is first read, and loaded from there. So a file that is replaced, even
// in place, changes nothing for a program that runs; and a worker or a compaction that starts later inherits the
// descriptor and gets the very same code: it cannot write a newer schema than the one it works for.
//
// Tests: tests/services/plugins_test.cpp
#pragma once

#include <string>
#include <vector>

#include "services/kind.hpp"
#include "state/base/result.hpp"

namespace tap::services {

/// A plugin's bytes in memory that nobody can change.
/// Lifetime: the descriptor stays open until the process ends. The dynamic linker knows what it has loaded by its name,
/// and that is the descriptor's number: it must never come to mean another file.
struct KeptPlugin {
  std::string path;  ///< where it was found, for messages
  int fd = -1;
};

/// Thread:   one.
/// Lifetime: the registry outlives it. What was loaded stays loaded when the object goes:
/// code of a plugin may run until
///           the process ends.
class Plugins {
 public:
  static constexpr std::size_t kFileBytesMax = std::size_t{256} << 20U;
  static constexpr std::size_t kKindsMax = 1000;

  explicit Plugins(Registry& registry) : registry_(registry) {}

  /// Reads, checks and loads the file at an absolute path, and adds its kinds to the registry. A path that is loaded
  /// already is left as it is, whatever lies there now. Errors: config, a sentence that names the path and what is
  /// wrong; then the registry is as it was.
  [[nodiscard]] Result<void> load(const std::string& path);
  /// The same from what another process has kept. REQUIRES: the descriptor is one of its kept().
  [[nodiscard]] Result<void> load_kept(KeptPlugin plugin);
  /// From here on load() refuses what is not loaded yet: a running keeper takes in no new code.
  void freeze() { frozen_ = true; }

  /// In the order of their loading.
  [[nodiscard]] const std::vector<KeptPlugin>& kept() const { return kept_; }

 private:
  Registry& registry_;
  std::vector<KeptPlugin> kept_;
  bool frozen_ = false;
};

}  // namespace tap::services
