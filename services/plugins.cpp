#include "services/plugins.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

#include "services/plugin.hpp"
#include "state/base/fd.hpp"
#include "state/definition.hpp"

namespace tap::services {
namespace {

Error refused(std::string why) { return Error{Fault::config, std::move(why)}; }

std::string reason(int code) { return std::strerror(code); }

/// Who could have written it: the code will run as whoever we are.
Result<void> check_file(const struct stat& found) {
  if (!S_ISREG(found.st_mode)) return refused("it is not a regular file");
  if (found.st_uid != 0 && found.st_uid != ::geteuid()) {
    return refused("it belongs to user " + std::to_string(found.st_uid) +
                   ", neither to root nor to the user of this program; " + "whoever owns it could put any code there");
  }
  const bool group_may = (found.st_mode & S_IWGRP) != 0 && found.st_gid != 0 && found.st_gid != ::getegid();
  if ((found.st_mode & S_IWOTH) != 0 || group_may) {
    return refused("others may write to it; `chmod go-w` takes that from them");
  }
  if (found.st_size == 0) return refused("it is empty");
  if (static_cast<std::uint64_t>(found.st_size) > Plugins::kFileBytesMax) {
    return refused("it is larger than " + std::to_string(Plugins::kFileBytesMax >> 20U) + " MiB");
  }
  return {};
}

/// A copy in memory that is sealed: nobody can write to it, we neither.
Result<Fd> sealed_copy(int from, std::size_t bytes) {
  Fd copy(::memfd_create("tapd-plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.open()) return refused("no memory file for it: " + reason(errno));
  std::size_t left = bytes;
  while (left > 0) {
    const ssize_t sent = ::sendfile(copy.get(), from, nullptr, left);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return refused("it cannot be read: " + reason(errno));
    if (sent == 0) return refused("it became shorter while it was read");
    left -= static_cast<std::size_t>(sent);
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return refused("its copy in memory cannot be sealed: " + reason(errno));
  }
  return copy;
}

Result<Fd> take_copy(const std::string& path) {
  if (path.empty() || path[0] != '/') return refused("this is no absolute path");
  // Not waiting for a fifo's writer; what it is we look at afterwards, on the very file that will be read.
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.open()) return refused("it cannot be opened: " + reason(errno));
  struct stat found {};
  if (::fstat(file.get(), &found) != 0) return refused("it cannot be looked at: " + reason(errno));
  if (Result<void> checked = check_file(found); !checked) return std::move(checked).error();
  return sealed_copy(file.get(), static_cast<std::size_t>(found.st_size));
}

/// The dynamic linker's words without the name under which it knows the file.
std::string linker_words(const std::string& opened_as) {
  const char* words = ::dlerror();
  std::string text = words == nullptr ? "the dynamic linker does not say why" : words;
  if (text.compare(0, opened_as.size() + 2, opened_as + ": ") == 0) text.erase(0, opened_as.size() + 2);
  return text;
}

struct Entry {
  const PluginDescription* (*call)();
};

Result<Entry> open_object(int fd) {
  const std::string name = "/proc/self/fd/" + std::to_string(fd);
  // Local: two plugins do not see each other's names. Never unloaded: threads,
  // timers and types of it may outlive any use.
  void* object = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (object == nullptr) return refused("it cannot be loaded: " + linker_words(name));
  void* found = ::dlsym(object, "tap_plugin");
  if (found == nullptr)
    return refused("it is no plugin of tapd: it has no function tap_plugin (TAP_PLUGIN defines it)");
  return Entry{reinterpret_cast<const PluginDescription* (*)()>(found)};
}

std::string text_or(const char* text) { return text == nullptr ? "(nothing)" : text; }

/// Whether its objects can pass between it and us. The version comes first: only then is the rest what it seems.
Result<void> check_description(const PluginDescription* its) {
  if (its == nullptr || its->magic != kPluginMagic)
    return refused("it is no plugin of tapd: tap_plugin does not begin as one does");
  if (its->abi_version != kPluginAbiVersion) {
    return refused("it speaks version " + std::to_string(its->abi_version) +
                   " of the plugin interface, this program version " + std::to_string(kPluginAbiVersion) +
                   "; compile it against the headers of this tapd");
  }
  if (text_or(its->stamp) != plugin_stamp()) {
    return refused("it was compiled by " + text_or(its->stamp) + ", this program by " + plugin_stamp() +
                   "; compile both with the same");
  }
  if (its->layout != kPluginLayout) {
    return refused("it was compiled against the headers of another tapd (" + text_or(its->tapd_version) +
                   "); this one is " + TAP_VERSION);
  }
  if (its->kinds == nullptr || its->count == 0 || its->count > Plugins::kKindsMax) {
    return refused("it lists " + std::to_string(its->count) + " kinds; there are 1 to " +
                   std::to_string(Plugins::kKindsMax));
  }
  return {};
}

Result<std::vector<Kind>> ask_kinds(const Entry& entry) {
  try {
    const PluginDescription* description = entry.call();
    if (Result<void> checked = check_description(description); !checked) return std::move(checked).error();
    std::vector<Kind> kinds = description->kinds();
    if (kinds.size() != description->count) {
      return refused("it lists " + std::to_string(kinds.size()) + " kinds and announces " +
                     std::to_string(description->count));
    }
    return kinds;
  } catch (const std::exception& thrown) {
    return refused(std::string("listing its kinds threw an exception: ") + thrown.what());
  } catch (...) {
    return refused("listing its kinds threw something that is no exception");
  }
}

Result<void> check_kind(const Kind& kind) {
  if (!state::is_name(kind.name)) return refused("'" + kind.name + "' is not a name for a kind");
  if (!kind.create) return refused("its kind '" + kind.name + "' cannot make a service: 'create' is not set");
  for (const OptionSpec& option : kind.options) {
    const Result<std::string> fallback = option.canonical(option.default_value);
    if (!fallback) {
      return refused("the default of option '" + option.name + "' of its kind '" + kind.name +
                     "': " + fallback.error().message);
    }
  }
  return {};
}

}  // namespace

Result<void> Plugins::load(const std::string& path) {
  const bool known =
      std::any_of(kept_.begin(), kept_.end(), [&path](const KeptPlugin& plugin) { return plugin.path == path; });
  if (known) return {};
  if (frozen_)
    return refused("the plugin " + path + ": a running tapd takes in no new code; it is loaded at the next start");
  Result<Fd> copy = take_copy(path);
  if (!copy) return std::move(copy.error()).with("the plugin " + path);
  return load_kept({path, copy->release()});
}

Result<void> Plugins::load_kept(KeptPlugin plugin) {
  const auto told = [&plugin](Error error) { return std::move(error).with("the plugin " + plugin.path); };
  Result<Entry> entry = open_object(plugin.fd);
  if (!entry) return told(std::move(entry).error());
  Result<std::vector<Kind>> kinds = ask_kinds(*entry);
  if (!kinds) return told(std::move(kinds).error());
  for (const Kind& kind : *kinds) {
    if (Result<void> checked = check_kind(kind); !checked) return told(std::move(checked).error());
  }
  if (Result<void> added = registry_.add(std::move(kinds).value()); !added) return told(std::move(added).error());
  kept_.push_back(std::move(plugin));
  return {};
}

}  // namespace tap::services
