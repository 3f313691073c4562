// The commands of `tap`, one function each; main.cpp parses their words.
//
// Each prints its answer on standard output and returns 0, or an Error whose exit code is the program's.
#pragma once

#include <string>
#include <vector>

#include "services/kind.hpp"
#include "state/store.hpp"
#include "state/text.hpp"

namespace tap::tools {

/// `tap make KIND ...`: a first archive.
[[nodiscard]] Result<void> make_archive(const std::vector<std::string>& words, const services::Registry& kinds);

struct ShowOptions {
  bool json = false;
  bool full = false;
};
/// `tap show FILE|DIR`
[[nodiscard]] Result<void> show(const std::string& path, const ShowOptions& options, const services::Registry& kinds);
/// `tap list DIR`
[[nodiscard]] Result<void> list(const std::string& directory);
/// `tap verify FILE|DIR`: every checksum, and every payload by its kind.
[[nodiscard]] Result<void> verify(const std::string& path, const services::Registry& kinds);
/// `tap convert IN OUT`, formats by extension.
[[nodiscard]] Result<void> convert(const std::string& from, const std::string& to, const services::Registry& kinds);
/// `tap diff A B`: prints what differs; true when nothing does.
[[nodiscard]] Result<bool> diff(const std::string& a, const std::string& b, const services::Registry& kinds);

// --- shared by them ---------------------------------------------------------------------------------------------

[[nodiscard]] bool is_directory(const std::string& path);
/// The store in a directory, for looking only. Errors: no_input.
[[nodiscard]] Result<state::Store> open_store(const std::string& directory);
/// An archive file, or the newest archive of a store.
[[nodiscard]] Result<state::StoredArchive> read_any(const std::string& path);
/// The state types of the known kinds.
[[nodiscard]] state::StateTypes state_types(const services::Registry& kinds);

}  // namespace tap::tools
