#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "state/files.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {

bool is_directory(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

Result<state::Store> open_store(const std::string& directory) {
  Result<Fd> fd = state::open_directory(AT_FDCWD, directory);
  if (!fd) {
    fd.error().fault = fd.error().fault == Fault::permission ? Fault::permission : Fault::no_input;
    return std::move(fd).error();
  }
  return state::Store(std::move(fd).value());
}

Result<state::StoredArchive> read_any(const std::string& path) {
  if (!is_directory(path)) return state::read_archive_file(path);
  Result<state::Store> store = open_store(path);
  if (!store) return std::move(store).error();
  Result<std::vector<state::StoreEntry>> entries = store->list();
  if (!entries) return std::move(entries).error();
  if (entries->empty()) return Error{Fault::no_input, path + " holds no archives: it is not a store, or an empty one"};
  state::StoreEntry& newest = entries->front();
  if (!newest.content) return std::move(newest.content.error()).with(path);
  newest.content->file = path + "/" + newest.file;
  return std::move(newest.content).value();
}

Result<LockedStore> lock_store(const std::string& directory) {
  if (!is_directory(directory)) return Error{Fault::no_input, directory + " is not a directory"};
  Result<state::Store> store = open_store(directory);
  if (!store) return std::move(store).error();
  Result<std::vector<state::StoreEntry>> entries = store->list();
  if (!entries) return std::move(entries.error()).with(directory);
  if (entries->empty())
    return Error{Fault::no_input, directory + " holds no archives: it is not a store, or an empty one"};
  Result<state::StoreLock> lock = state::StoreLock::acquire(store->directory(), directory);
  if (!lock) return std::move(lock).error();
  return LockedStore{std::move(store).value(), std::move(lock).value()};
}

Result<ChangeableStore> open_for_change(const std::string& directory, const services::Registry& kinds) {
  Result<LockedStore> locked = lock_store(directory);
  if (!locked) return std::move(locked).error();
  Result<services::StoreView> view = services::view_store(locked->store, kinds);
  if (!view) return std::move(view.error()).with(directory);
  if (view->damage) return std::move(*view->damage).with(directory);
  return ChangeableStore{std::move(locked).value(), std::move(view).value()};
}

Result<state::StoredArchive> save_change(ChangeableStore& changeable, state::Archive next) {
  state::Store& store = changeable.locked.store;
  const services::StoreView& view = changeable.view;
  next.epoch = std::max(next.epoch, view.end.epoch) + 1;
  if (Result<void> settled = store.settle(view.stored.archive, view.end); !settled) return std::move(settled).error();
  return store.save(std::move(next));
}

std::optional<int> running_pid(const std::string& directory) {
  Result<Fd> fd = state::open_directory(AT_FDCWD, directory);
  if (!fd) return std::nullopt;
  state::LockHolder holder;
  const Result<bool> held = state::StoreLock::held(fd->get(), holder);
  if (!held || !*held) return std::nullopt;
  return holder.pid;
}

state::StateTypes state_types(const services::Registry& kinds) {
  return [&kinds](std::string_view name) -> const state::StateType* {
    const services::Kind* kind = kinds.find(name);
    return kind == nullptr ? nullptr : kind->state;
  };
}

}  // namespace tap::tools
