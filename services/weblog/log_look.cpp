#include "services/weblog/log_look.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "services/weblog/log_search.hpp"

namespace tap::services::weblog {
namespace {

static_assert(kLingeringMax + kBetweenMax + 2 < kFilesMax);

/// A look while it is going on.
class Looking {
 public:
  explicit Looking(const LogLook& what) : what_(what) { seen_.files = what.files; }

  LogSeen run() {
    if (!find_again()) return std::move(seen_);
    do {
      if (!read_all()) {
        seen_.more = seen_.trouble.empty();
        break;
      }
    } while (follow_name());
    return std::move(seen_);
  }

 private:
  bool find_again();
  bool read_all();
  bool follow_name();
  void leave_old();
  void was_cut(std::size_t index);
  void add(LogFile file, bool at_end);

  [[nodiscard]] bool followed(const LogPlace& place) const {
    return std::any_of(seen_.files.begin(), seen_.files.end(), [&place](const LogFile& file) {
      return file.place.inode == place.inode && file.place.device == place.device;
    });
  }

  const LogLook& what_;
  LogSeen seen_;
  std::size_t bytes_left_ = kLookBytesMax;
};

/// After a start: the files that the state knows. False: nobody can say now where they are.
bool Looking::find_again() {
  std::vector<LogFile> found;
  for (std::size_t i = 0; i < seen_.files.size(); ++i) {
    LogFile& file = seen_.files[i];
    if (file.fd == nullptr) {
      const Result<std::optional<LogFile>> searched = find_file(what_.path, file.place);
      if (!searched) {
        seen_.trouble = searched.error().message;
        return false;
      }
      const std::optional<LogFile>& again = *searched;
      if (!again) {
        // An older one had nothing new any more, as far as was seen.
        const bool last = i + 1 == seen_.files.size();
        if (last) {
          seen_.notes.push_back("the file that was read up to byte " + std::to_string(file.place.offset) +
                                " is not in the log's directory any more; what it had behind that is not told");
        }
        continue;
      }
      file.fd = again->fd;
      file.place = again->place;
      file.grown_ms = what_.now_ms;
    }
    found.push_back(file);
  }
  seen_.files = std::move(found);
  return true;
}

/// False: it is not at the end of all files.
bool Looking::read_all() {
  for (std::size_t i = 0; i < seen_.files.size(); ++i) {
    if (seen_.files[i].cut()) {
      was_cut(i);
      i = 0;  // there may be one more before it
    }
    LogFile& file = seen_.files[i];
    const std::uint64_t before = file.place.offset;
    Result<bool> at_end = file.read(seen_.hits, bytes_left_, what_.keep);
    if (file.place.offset != before) file.grown_ms = what_.now_ms;
    if (!at_end) {
      seen_.trouble = at_end.error().message;
      return false;
    }
    if (!*at_end) return false;
  }
  leave_old();
  return true;
}

/// Those that are not the log any more, when nobody seems to write to them, or when there are too many.
void Looking::leave_old() {
  std::vector<LogFile> stay;
  for (std::size_t i = 0; i < seen_.files.size(); ++i) {
    LogFile& file = seen_.files[i];
    const std::size_t newer = seen_.files.size() - i - 1;
    if (newer == 0 || (newer <= kLingeringMax && what_.now_ms - file.grown_ms < kLingerMs)) stay.push_back(file);
    else file.take_rest(seen_.hits, what_.keep);
  }
  seen_.files = std::move(stay);
}

/// Whether the log's name means another file now, which is to be read too.
bool Looking::follow_name() {
  struct stat about {};
  Result<Fd> fd = open_log(what_.path, about);
  if (!fd) {
    if (fd.error().fault != Fault::no_input) seen_.trouble = fd.error().message;
    return false;
  }
  LogFile present;
  present.place.device = about.st_dev;
  present.place.inode = about.st_ino;
  present.fd = std::make_shared<const Fd>(std::move(fd).value());
  const bool first = seen_.files.empty();
  if (!first && seen_.files.back().place.inode == present.place.inode &&
      seen_.files.back().place.device == present.place.device) {
    return false;
  }
  if (!first) {
    ++seen_.rotations;
    seen_.files.back().grown_ms = what_.now_ms;
    for (LogFile& between : find_between(what_.path, seen_.files.back())) {
      if (between.place.inode != present.place.inode && !followed(between.place)) add(std::move(between), false);
    }
  }
  // An old name for an old file: it goes on where it was.
  const auto known = std::find_if(seen_.files.begin(), seen_.files.end(), [&present](const LogFile& file) {
    return file.place.inode == present.place.inode && file.place.device == present.place.device;
  });
  if (known != seen_.files.end()) {
    std::rotate(known, known + 1, seen_.files.end());
    return true;
  }
  add(std::move(present), first && what_.skip_old);
  return true;
}

void Looking::add(LogFile file, bool at_end) {
  file.grown_ms = what_.now_ms;
  if (at_end) {
    if (const Result<void> gone = file.go_to_end(); !gone) seen_.trouble = gone.error().message;
  }
  seen_.files.push_back(std::move(file));
}

/// What copytruncate has copied is read to its end first, from the copy.
void Looking::was_cut(std::size_t index) {
  ++seen_.cuts;
  const LogPlace before = seen_.files[index].place;
  std::optional<LogFile> copy = find_copy(what_.path, before);
  LogPlace& place = seen_.files[index].place;
  place = {};
  place.device = before.device;
  place.inode = before.inode;
  seen_.files[index].grown_ms = what_.now_ms;
  if (!copy || followed(copy->place) || seen_.files.size() >= kFilesMax) {
    seen_.notes.push_back("the log was cut when it had been read up to byte " + std::to_string(before.offset) +
                          ", and there is no copy of it; what it had behind that is not told");
    return;
  }
  copy->grown_ms = what_.now_ms;
  seen_.files.insert(seen_.files.begin() + static_cast<std::ptrdiff_t>(index), std::move(*copy));
}

}  // namespace

LogSeen LogLook::operator()() const { return Looking(*this).run(); }

}  // namespace tap::services::weblog
