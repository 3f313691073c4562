#include "services/weblog/log_search.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace tap::services::weblog {
namespace {

using Time = std::pair<std::int64_t, std::uint32_t>;

struct Split {
  std::string directory;
  std::string name;
};

Split split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

/// Each regular file beside the log, until `use` says that it is enough. Errors: unavailable.
Result<void> each_file(const std::string& directory,
                       const std::function<bool(const std::string&, const struct stat&)>& use) {
  DIR* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return errno_error(Fault::unavailable, "listing " + directory);
  for (std::size_t seen = 0; seen < kDirectoryEntriesMax; ++seen) {
    const dirent* entry = ::readdir(listing);
    if (entry == nullptr) break;
    struct stat about {};
    if (::fstatat(::dirfd(listing), entry->d_name, &about, 0) != 0 || !S_ISREG(about.st_mode)) continue;
    if (!use(entry->d_name, about)) break;
  }
  ::closedir(listing);
  return {};
}

std::optional<LogFile> opened(const std::string& path) {
  struct stat about {};
  Result<Fd> fd = open_log(path, about);
  if (!fd) return std::nullopt;
  LogFile file;
  file.place.device = about.st_dev;
  file.place.inode = about.st_ino;
  file.fd = std::make_shared<const Fd>(std::move(fd).value());
  return file;
}

/// `file` at the place where another one, which it continues, was read to.
LogFile at_place(LogFile file, const LogPlace& place) {
  const LogPlace own = std::exchange(file.place, place);
  file.place.device = own.device;
  file.place.inode = own.inode;
  return file;
}

std::optional<Time> birth_of(int fd) {
  struct statx about {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &about) != 0 || (about.stx_mask & STATX_BTIME) == 0)
    return std::nullopt;
  return Time(about.stx_btime.tv_sec, about.stx_btime.tv_nsec);
}

}  // namespace

bool is_rotated_name(std::string_view name, std::string_view log) {
  if (name.size() < log.size() + 2 || name.substr(0, log.size()) != log) return false;
  name.remove_prefix(log.size());
  if (name.front() != '.' && name.front() != '-') return false;
  return name.find_first_not_of("0123456789.-_T:", 1) == std::string_view::npos;
}

Result<std::optional<LogFile>> find_file(const std::string& log, const LogPlace& place) {
  const auto [directory, name] = split(log);
  std::optional<LogFile> found;
  std::string unread;
  const Result<void> listed =
      each_file(directory, [&, &folder = directory](const std::string& entry, const struct stat& about) {
        if (about.st_ino != place.inode || about.st_dev != place.device) return true;
        std::optional<LogFile> file = opened(folder + "/" + entry);
        if (!file) unread = entry;
        else if (begins_as(file->fd->get(), place)) found = at_place(std::move(*file), place);
        return !found.has_value();
      });
  if (!listed) return listed.error();
  if (found) return found;
  // To take it for gone would be to read the log from its beginning.
  if (!unread.empty()) return Error{Fault::unavailable, directory + "/" + unread + " cannot be opened"};
  // The log itself, with the old inode and another content: it was cut while nobody looked. The reader will see that.
  std::optional<LogFile> present = opened(log);
  if (present && present->place.inode == place.inode && present->place.device == place.device) {
    return std::optional<LogFile>(at_place(std::move(*present), place));
  }
  return find_copy(log, place);
}

std::optional<LogFile> find_copy(const std::string& log, const LogPlace& place) {
  if (place.begin_bytes == 0) return std::nullopt;
  const auto [directory, name] = split(log);
  std::optional<LogFile> newest;
  Time newest_time;
  (void)each_file(
      directory, [&, &folder = directory, &prefix = name](const std::string& entry, const struct stat& about) {
        if (entry.compare(0, prefix.size(), prefix) != 0 || static_cast<std::uint64_t>(about.st_size) < place.offset)
          return true;
        if (about.st_ino == place.inode && about.st_dev == place.device) return true;
        const Time time(about.st_mtim.tv_sec, static_cast<std::uint32_t>(about.st_mtim.tv_nsec));
        if (newest && time <= newest_time) return true;
        std::optional<LogFile> file = opened(folder + "/" + entry);
        if (!file || !begins_as(file->fd->get(), place)) return true;
        newest = at_place(std::move(*file), place);
        newest_time = time;
        return true;
      });
  return newest;
}

std::vector<LogFile> find_between(const std::string& log, const LogFile& last) {
  const std::optional<Time> after = birth_of(last.fd->get());
  if (!after) return {};
  const auto [directory, name] = split(log);
  std::vector<std::pair<Time, LogFile>> found;
  (void)each_file(directory, [&, &folder = directory, &own = name](const std::string& entry, const struct stat& about) {
    if (!is_rotated_name(entry, own) || about.st_ino == last.place.inode) return true;
    std::optional<LogFile> file = opened(folder + "/" + entry);
    if (!file) return true;
    const std::optional<Time> born = birth_of(file->fd->get());
    const bool copy = last.place.begin_bytes != 0 && begins_as(file->fd->get(), last.place);
    if (born && *born > *after && !copy) found.emplace_back(*born, std::move(*file));
    return true;
  });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (found.size() > kBetweenMax) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(kBetweenMax));
  std::vector<LogFile> files;
  files.reserve(found.size());
  for (auto& [born, file] : found) files.push_back(std::move(file));
  return files;
}

}  // namespace tap::services::weblog
