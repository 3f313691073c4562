#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "services/definition_check.hpp"
#include "services/store_view.hpp"
#include "state/files.hpp"
#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

using Json = nlohmann::ordered_json;

Error usage(std::string message) { return Error{Fault::usage, std::move(message)}; }

/// {"fib": {"a": "1", ...}, ...}: the states that this program can read, by service.
Json states_of(const Json& document) {
  Json states = Json::object();
  for (const Json& section : document.at("tapd").at("services")) {
    if (section.value("encoding", "") == "cereal") states[section.value("service", "")] = section.at("state");
  }
  return states;
}

/// A value as it is typed: what stands there now tells its type.
Result<Json> typed(const std::string& text, const Json& present, const std::string& path) {
  if (present.is_string()) return Json(text);
  Json value = Json::parse(text, nullptr, false);
  const bool same_type =
      !value.is_discarded() && (value.type() == present.type() || (value.is_number() && present.is_number()));
  if (!same_type) return usage("--set " + path + ": '" + text + "' is no " + std::string(present.type_name()));
  return value;
}

/// "fib.given=5": walks from service to member to member; a number is a place in a list.
Result<void> set_value(Json& states, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos) return usage("--set takes SERVICE.path=value, not '" + assignment + "'");
  const std::string path = assignment.substr(0, equals);
  Json* at = &states;
  std::string known;
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t dot = std::min(path.find('.', begin), path.size());
    std::string part = path.substr(begin, dot - begin);
    // A service's name may have dots itself.
    for (std::size_t next = dot; at == &states && !at->contains(part) && next < path.size();) {
      next = std::min(path.find('.', next + 1), path.size());
      if (at->contains(path.substr(0, next))) part = path.substr(0, next);
    }
    const std::size_t place = std::strtoull(part.c_str(), nullptr, 10);
    if (at->is_object() && at->contains(part)) at = &(*at)[part];
    else if (at->is_array() && std::to_string(place) == part && place < at->size()) at = &(*at)[place];
    else
      return usage("--set " + path + ": there is no '" + part + "'" +
                   (known.empty() ? " with a state" : " in " + known));
    known += (known.empty() ? "" : ".") + part;
    begin = known.size() + 1;
  }
  if (at->is_structured()) return usage("--set " + path + ": that is not one value; give the path to one inside it");
  Result<Json> value = typed(assignment.substr(equals + 1), *at, path);
  if (!value) return std::move(value).error();
  *at = std::move(value).value();
  return {};
}

/// A file for an editor, gone with the object.
class EditedFile {
 public:
  EditedFile() = default;
  EditedFile(const EditedFile&) = delete;
  EditedFile& operator=(const EditedFile&) = delete;
  ~EditedFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Result<void> write(const std::string& text) {
    const char* given = std::getenv("TMPDIR");
    path_ = std::string(given == nullptr ? "/tmp" : given) + "/tap-edit-XXXXXX.json";
    const Fd fd(::mkostemps(path_.data(), 5, O_CLOEXEC));
    if (!fd.open()) return errno_error(Fault::cannot_create, "making a file to edit, " + path_);
    return state::write_all(fd.get(), text);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// As git and crontab do: the command may have arguments, so a shell runs it.
Result<void> run_editor(const std::string& file) {
  const char* editor = std::getenv("VISUAL");
  if (editor == nullptr || *editor == '\0') editor = std::getenv("EDITOR");
  if (editor == nullptr || *editor == '\0') editor = "vi";
  const pid_t child = ::fork();
  if (child < 0) return errno_error(Fault::temporary, "starting the editor");
  if (child == 0) {
    const std::string command = std::string(editor) + " \"$1\"";
    ::execl("/bin/sh", "sh", "-c", command.c_str(), "sh", file.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error{Fault::usage, "the editor '" + std::string(editor) + "' did not end well; nothing is changed"};
}

Result<void> edit_by_hand(Json& states) {
  EditedFile file;
  if (Result<void> written = file.write(states.dump(2) + "\n"); !written) return written;
  if (Result<void> edited = run_editor(file.path()); !edited) return edited;
  Result<Bytes> text = state::read_file(AT_FDCWD, file.path());
  if (!text) return std::move(text).error();
  Json changed = Json::parse(*text, nullptr, false);
  if (changed.is_discarded() || !changed.is_object()) {
    return Error{Fault::damaged, "what was edited is not JSON any more; nothing is changed"};
  }
  for (const auto& [service, state] : changed.items()) {
    if (!states.contains(service)) return usage("there is no state of a service '" + service + "'; nothing is changed");
  }
  for (const auto& [service, state] : states.items()) {
    if (!changed.contains(service)) {
      return usage("the state of '" + service + "' is missing; `tap purge` forgets states. Nothing is changed");
    }
  }
  states = std::move(changed);
  return {};
}

/// The archive with other states; everything else stays bit for bit. False when nothing has changed.
Result<bool> edit_archive(state::Archive& archive, const EditOptions& options, const services::Registry& kinds) {
  Result<std::string> text = state::to_text(archive, state::TextFormat::json, state_types(kinds));
  if (!text) return std::move(text).error();
  Json document = Json::parse(*text, nullptr, false);
  if (document.is_discarded()) return Error{Fault::internal, "the state holds a number that JSON cannot carry"};
  const Json before = states_of(document);
  if (before.empty()) return Error{Fault::no_input, "there is no state to edit"};
  Json states = before;
  for (const std::string& assignment : options.set) {
    if (Result<void> set = set_value(states, assignment); !set) return std::move(set).error();
  }
  if (options.set.empty()) {
    if (Result<void> edited = edit_by_hand(states); !edited) return std::move(edited).error();
  }
  if (states == before) return false;
  for (Json& section : document.at("tapd").at("services")) {
    const std::string service = section.value("service", "");
    if (section.value("encoding", "") == "cereal") section["state"] = states.at(service);
  }
  Result<state::Archive> changed = state::from_text(document.dump(2), state::TextFormat::json, state_types(kinds));
  if (!changed) return std::move(changed.error()).with("the new state");
  if (Result<void> checked = services::check_states(*changed, kinds); !checked) return std::move(checked).error();
  for (state::Section& section : archive.sections) {
    const state::Section* other = changed->find(section.service);
    if (other != nullptr && states.contains(section.service)) section = *other;
  }
  return true;
}

Result<void> edit_store(const std::string& directory, const EditOptions& options, const services::Registry& kinds) {
  Result<ChangeableStore> changeable = open_for_change(directory, kinds);
  if (!changeable) return std::move(changeable).error();
  const services::StoreView* view = &changeable->view;
  state::Archive next = state::successor(view->present, view->stored.digest);
  Result<bool> edited = edit_archive(next, options, kinds);
  if (!edited) return std::move(edited).error();
  if (!*edited) {
    std::printf("%s: nothing has changed\n", directory.c_str());
    return {};
  }
  Result<state::StoredArchive> saved = save_change(*changeable, std::move(next));
  if (!saved) return std::move(saved.error()).with(directory);
  // The journal knows nothing of this change: nobody may come to the newest state from an older one.
  if (Result<void> aside = changeable->locked.store.set_older_aside("`tap edit` has changed what follows it"); !aside)
    return aside;
  std::printf("%s: this is generation %llu now; what was before is in quarantine/\n", directory.c_str(),
              static_cast<unsigned long long>(saved->archive.generation));
  return {};
}

Result<void> edit_file(const std::string& path, const EditOptions& options, const services::Registry& kinds) {
  Result<state::StoredArchive> stored = state::read_archive_file(path);
  if (!stored) return std::move(stored).error();
  state::Archive child = state::child_of(stored->archive, stored->digest);
  Result<bool> edited = edit_archive(child, options, kinds);
  if (!edited) return std::move(edited).error();
  if (!*edited) {
    std::printf("%s: nothing has changed\n", path.c_str());
    return {};
  }
  if (Result<void> written = state::replace_path(path, state::encode_archive(child)); !written) return written;
  std::printf("%s: this is the new lineage %s now, a child of %s\n", path.c_str(), child.lineage.text().c_str(),
              child.parent.text().c_str());
  return {};
}

}  // namespace

Result<void> edit(const std::string& path, const EditOptions& options, const services::Registry& kinds) {
  return is_directory(path) ? edit_store(path, options, kinds) : edit_file(path, options, kinds);
}

}  // namespace tap::tools
