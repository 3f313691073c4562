#include <cstdio>

#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

/// The checksums were right when it was read; here each state is decoded by its kind.
Result<void> check_states(const state::Archive& archive, const services::Registry& kinds) {
  for (const state::Section& section : archive.sections) {
    const services::Kind* kind = kinds.find(section.kind);
    if (kind == nullptr || kind->state == nullptr) continue;
    if (Result<void> checked = kind->state->check(section.payload, section.schema_version); !checked) {
      return std::move(checked.error()).with("the state of service '" + section.service + "'");
    }
  }
  return {};
}

Result<void> verify_one(const std::string& name, const Result<state::StoredArchive>& stored,
                        const services::Registry& kinds) {
  if (!stored) {
    std::printf("%s: BAD: %s\n", name.c_str(), stored.error().message.c_str());
    return stored.error();
  }
  if (Result<void> checked = check_states(stored->archive, kinds); !checked) {
    std::printf("%s: BAD: %s\n", name.c_str(), checked.error().message.c_str());
    return checked;
  }
  std::printf("%s: ok, generation %llu, %zu states\n", name.c_str(),
              static_cast<unsigned long long>(stored->archive.generation), stored->archive.sections.size());
  return {};
}

}  // namespace

Result<void> verify(const std::string& path, const services::Registry& kinds) {
  if (!is_directory(path)) return verify_one(path, state::read_archive_file(path), kinds);
  Result<state::Store> store = open_store(path);
  if (!store) return std::move(store).error();
  Result<std::vector<state::StoreEntry>> entries = store->list();
  if (!entries) return std::move(entries.error()).with(path);
  if (entries->empty()) std::printf("%s: holds no archives\n", path.c_str());
  Result<void> worst;
  for (const state::StoreEntry& entry : *entries) {
    const Result<void> checked = verify_one(path + "/" + entry.file, entry.content, kinds);
    if (!checked && worst) worst = checked;
  }
  return worst;
}

}  // namespace tap::tools
