#include <cstdio>

#include "services/definition_check.hpp"
#include "services/store_view.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

Result<void> verify_one(const std::string& name, const Result<state::StoredArchive>& stored,
                        const services::Registry& kinds) {
  if (!stored) {
    std::printf("%s: BAD: %s\n", name.c_str(), stored.error().message.c_str());
    return stored.error();
  }
  if (Result<void> checked = services::check_states(stored->archive, kinds); !checked) {
    std::printf("%s: BAD: %s\n", name.c_str(), checked.error().message.c_str());
    return checked;
  }
  std::printf("%s: ok, generation %llu, %zu states\n", name.c_str(),
              static_cast<unsigned long long>(stored->archive.generation), stored->archive.sections.size());
  return {};
}

/// The journal behind the newest archive that is whole, decoded and applied as the next start would.
Result<void> verify_journal(const std::string& path, state::Store& store, const services::Registry& kinds) {
  Result<services::StoreView> view = services::view_store(store, kinds);
  if (!view) return {};  // no archive to begin with: that was said above
  if (view->damage) {
    std::printf("%s: journal: BAD: %s\n", path.c_str(), view->damage->message.c_str());
    return *view->damage;
  }
  for (const std::string& line : view->report()) std::printf("%s: journal: ok, %s\n", path.c_str(), line.c_str());
  return {};
}

}  // namespace

Result<void> verify(const std::string& path, const services::Registry& kinds) {
  if (!is_directory(path)) return verify_one(path, state::read_archive_file(path), kinds);
  Result<state::Store> store = open_store(path);
  if (!store) return std::move(store).error();
  Result<std::vector<state::StoreEntry>> entries = store->list();
  if (!entries) return std::move(entries.error()).with(path);
  if (entries->empty()) return Error{Fault::no_input, path + " holds no archives: it is not a store, or an empty one"};
  Result<void> worst;
  for (const state::StoreEntry& entry : *entries) {
    const Result<void> checked = verify_one(path + "/" + entry.file, entry.content, kinds);
    if (!checked && worst) worst = checked;
  }
  const Result<void> journal = verify_journal(path, *store, kinds);
  return worst ? journal : worst;
}

}  // namespace tap::tools
