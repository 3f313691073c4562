#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <optional>

#include "services/store_view.hpp"
#include "services/units.hpp"
#include "state/files.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

/// One state that can still be had.
struct Choice {
  services::StoreView view;
  std::string what;
};

/// Every archive that is whole, with as much of the journal as leads on from it: the newest first.
Result<std::vector<Choice>> find_choices(state::Store& store, const services::Registry& kinds) {
  Result<std::vector<state::StoreEntry>> entries = store.list();
  if (!entries) return std::move(entries).error();
  std::vector<Choice> choices;
  for (state::StoreEntry& entry : *entries) {
    if (!entry.content) continue;
    Result<services::StoreView> view = services::view_store_from(store, std::move(entry.content).value(), kinds);
    if (!view) continue;
    const state::Archive& archive = view->stored.archive;
    std::string what =
        "generation " + std::to_string(archive.generation) + ", saved " + services::time_text(archive.created_ms);
    if (view->present.base_lsn > archive.base_lsn) {
      what += ", and the journal from there up to LSN " + std::to_string(view->present.base_lsn);
    }
    what += view->damage ? "; what came after LSN " + std::to_string(view->present.base_lsn) + " is lost"
                         : "; the journal is read to its end";
    choices.push_back({std::move(view).value(), std::move(what)});
  }
  return choices;
}

/// What stands in the way of a start; nullopt: nothing does.
std::optional<Error> find_trouble(state::Store& store, const services::Registry& kinds) {
  Result<services::StoreView> view = services::view_store(store, kinds);
  if (!view) return std::move(view).error();
  return view->damage;
}

/// The new store: the chosen state as a child lineage, and all the old files beside it in quarantine/.
Result<void> make_copy(state::Store& store, const Choice& choice, const std::string& to) {
  if (::mkdir(to.c_str(), 0700) != 0) {
    return errno_error(Fault::cannot_create, "making the new store " + to + " (it must not be there yet)");
  }
  Result<Fd> directory = state::open_directory(AT_FDCWD, to);
  if (!directory) return std::move(directory).error();
  Result<Fd> aside = state::make_directory(directory->get(), "quarantine");
  if (!aside) return std::move(aside).error();
  Result<std::vector<std::string>> names = state::list_directory(store.directory());
  if (!names) return std::move(names).error();
  for (const std::string& name : *names) {
    struct stat found {};
    const bool file =
        ::fstatat(store.directory(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode);
    if (!file || name == "LOCK") continue;
    if (Result<void> copied = state::copy_file(store.directory(), name, aside->get(), name); !copied) {
      return std::move(copied.error()).with("copying " + name);
    }
  }
  state::Store target{std::move(directory).value()};
  Result<state::StoredArchive> saved = target.save(state::child_of(choice.view.present, choice.view.stored.digest));
  if (!saved) return std::move(saved).error();
  std::printf("%s: generation %llu of the new lineage %s; the old files are in %s/quarantine\n", to.c_str(),
              static_cast<unsigned long long>(saved->archive.generation), saved->archive.lineage.text().c_str(),
              to.c_str());
  std::printf("start it with `tapd --state-dir %s ...`, or move it to the place of the old one\n", to.c_str());
  return {};
}

}  // namespace

Result<void> repair(const std::string& directory, const RepairOptions& options, const services::Registry& kinds) {
  Result<LockedStore> locked = lock_store(directory);
  if (!locked) return std::move(locked).error();
  state::Store& store = locked->store;
  const std::optional<Error> trouble = find_trouble(store, kinds);
  if (!trouble && options.to.empty()) {
    std::printf("%s: there is nothing to repair: the next start recovers everything\n", directory.c_str());
    return {};
  }
  if (trouble) std::printf("%s: a start is refused: %s\n\n", directory.c_str(), trouble->message.c_str());
  Result<std::vector<Choice>> choices = find_choices(store, kinds);
  if (!choices) return std::move(choices).error();
  if (choices->empty()) {
    return Error{Fault::damaged, "no archive in " + directory +
                                     " is whole: there is nothing to begin with. Another copy "
                                     "(NAME-shutdown.tap, a backup) can be started with `tapd --rewind -f`"};
  }
  if (options.to.empty()) {
    std::printf("What can be had:\n");
    for (std::size_t i = 0; i < choices->size(); ++i) std::printf("  %zu  %s\n", i + 1, (*choices)[i].what.c_str());
    std::printf(
        "\nMake one of them, in a new store (this one is not changed):\n"
        "  tap repair %s --choice 1 --to %s.repaired\n"
        "Numbers that were given after the chosen LSN may be given again: `tap edit` can raise them first.\n",
        directory.c_str(), directory.c_str());
    return {};
  }
  const unsigned choice = options.choice == 0 && choices->size() == 1 ? 1 : options.choice;
  if (choice < 1 || choice > choices->size()) {
    return Error{Fault::usage, "--choice is a number from 1 to " + std::to_string(choices->size()) + "; `tap repair " +
                                   directory + "` shows them"};
  }
  return make_copy(store, (*choices)[choice - 1], options.to);
}

}  // namespace tap::tools
