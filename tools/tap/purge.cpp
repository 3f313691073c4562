#include <algorithm>
#include <cstdio>

#include "services/store_view.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {

Result<void> purge(const std::string& directory, const std::string& service, const services::Registry& kinds) {
  Result<ChangeableStore> changeable = open_for_change(directory, kinds);
  if (!changeable) return std::move(changeable).error();
  const services::StoreView* view = &changeable->view;
  if (view->present.definition.find(service) != nullptr) {
    return Error{Fault::cannot_create, "service '" + service +
                                           "' was configured when the store was last used: start tapd once without it, "
                                           "then what is kept for it can be purged"};
  }
  const auto of_service = [&](const state::Section& section) { return section.service == service; };
  state::Archive next = state::successor(view->present, view->stored.digest);
  const std::size_t states = std::erase_if(next.sections, of_service);
  const std::size_t changes = std::erase_if(next.pending, of_service);
  if (states + changes == 0) {
    return Error{Fault::no_input,
                 directory + " keeps nothing for a service '" + service + "' (`tap list` shows what it keeps)"};
  }
  Result<state::StoredArchive> saved = save_change(*changeable, std::move(next));
  if (!saved) return std::move(saved.error()).with(directory);
  std::printf(
      "%s: purged '%s'; this is generation %llu now. The generation before it still has it, until the next one\n",
      directory.c_str(), service.c_str(), static_cast<unsigned long long>(saved->archive.generation));
  return {};
}

}  // namespace tap::tools
