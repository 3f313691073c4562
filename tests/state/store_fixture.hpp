// A store in a directory of a test's own, and what lies in it byte for byte.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "state/store.hpp"
#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// Every file below a directory, by its path from there. ("name/" for a directory, without content.)
using Snapshot = std::map<std::string, std::string>;
[[nodiscard]] Snapshot snapshot(const std::string& directory);
/// The names in a snapshot.
[[nodiscard]] std::vector<std::string> names(const Snapshot& files);

/// The sample archive as another generation, with a payload that tells generations apart.
[[nodiscard]] state::Archive generation(std::uint64_t number);
[[nodiscard]] Bytes generation_bytes(std::uint64_t number);
/// Bytes of that generation in a format that this program does not know yet.
[[nodiscard]] Bytes newer_format_bytes(std::uint64_t number);
/// The same with one bit of the payload changed.
[[nodiscard]] Bytes damaged_bytes(std::uint64_t number);

struct StoreDirectory {
  StoreDirectory();
  /// Puts a file there behind the store's back.
  void put(const std::string& name, const std::string& content) const { write_text(directory / name, content); }
  [[nodiscard]] Snapshot files() const { return snapshot(directory.path()); }
  [[nodiscard]] std::string read(const std::string& name) const { return read_text(directory / name); }

  TemporaryDirectory directory;
  state::Store store;
};

}  // namespace tap::tests
