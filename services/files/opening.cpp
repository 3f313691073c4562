#include "services/files/opening.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "services/files/name.hpp"
#include "services/net/http/site.hpp"

namespace tap::services::files {
namespace {

using What = Found::What;

/// A file whose time is not older than this may change again without that its time changes.
constexpr std::int64_t kFreshSeconds = 2;

/// Looks at what is there and does not touch it: opening a device or a fifo would.
constexpr int kLook = O_PATH | O_CLOEXEC;
/// Nothing that is no regular file any more may make us wait, or become our terminal.
constexpr int kRead = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

int openat2_beneath(int root, const char* name, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags));
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0;; ++tries) {
    const long fd = ::syscall(SYS_openat2, root, name, &how, sizeof how);
    // EAGAIN: somebody moved a directory meanwhile, and the kernel could not tell whether we are still inside.
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN) || tries == 8) return static_cast<int>(fd);
  }
}

/// Without following any symbolic link.
int open_by_component(int root, const std::string& name, int flags) {
  Fd at;
  int from = root;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    if (end == name.size()) return ::openat(from, part.c_str(), flags | O_NOFOLLOW);
    Fd next(::openat(from, part.c_str(), kLook | O_NOFOLLOW | O_DIRECTORY));
    if (!next.open()) return -1;
    at = std::move(next);
    from = at.get();
    begin = end + 1;
  }
}

Fd open_guarded(int root, const std::string& name, Guard guard, int flags) {
  const std::string path = name.empty() ? "." : name;
  return Fd(guard == Guard::openat2 ? openat2_beneath(root, path.c_str(), flags)
                                    : open_by_component(root, path, flags));
}

What what_failed(int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return What::missing;
    case EXDEV:
    case ELOOP:
    case EACCES:
    case EPERM:
      return What::refused;
    default:
      return What::unavailable;
  }
}

What what_is(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return What::file;
  if (S_ISDIR(status.st_mode)) return What::directory;
  return S_ISLNK(status.st_mode) ? What::refused : What::no_file;
}

/// All of a small file; false when it is not what it was said to be.
bool read_content(int fd, OpenedFile& file) {
  file.content.resize(static_cast<std::size_t>(file.size_bytes));
  std::size_t have = 0;
  while (have < file.content.size()) {
    const ssize_t got = ::pread(fd, file.content.data() + have, file.content.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += static_cast<std::size_t>(got);
  }
  return true;
}

void describe(OpenedFile& file, const struct stat& status, const std::string& name, std::int64_t now_s) {
  file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  file.modified_s = status.st_mtim.tv_sec;
  const bool fresh = now_s - file.modified_s < kFreshSeconds;
  std::array<char, 96> etag{};
  std::snprintf(etag.data(), etag.size(), "%s\"%llx-%llx-%llx.%lx\"", fresh ? "W/" : "",
                static_cast<unsigned long long>(status.st_ino), static_cast<unsigned long long>(status.st_size),
                static_cast<unsigned long long>(status.st_mtim.tv_sec),
                static_cast<unsigned long>(status.st_mtim.tv_nsec));
  file.etag = etag.data();
  std::array<char, 32> date{};
  net::write_http_date(status.st_mtim.tv_sec, date.data());
  file.head.add("Content-Type", content_type_of(name))
      .add("Last-Modified", date.data())
      .add("ETag", file.etag)
      .add("Accept-Ranges", "bytes")
      .add("X-Content-Type-Options", "nosniff");
}

}  // namespace

Guard guard_of_kernel(int root) {
  const Fd tried(openat2_beneath(root, ".", kLook));
  return tried.open() ? Guard::openat2 : Guard::by_component;
}

Found open_beneath(int root, const std::string& name, Guard guard, std::int64_t now_s) {
  struct stat status {};
  {
    const Fd looked = open_guarded(root, name, guard, kLook);
    if (!looked.open()) return {what_failed(errno)};
    if (::fstat(looked.get(), &status) != 0) return {What::unavailable};
    if (const What what = what_is(status); what != What::file) return {what};
  }
  auto file = std::make_shared<OpenedFile>();
  file->fd = open_guarded(root, name, guard, kRead);
  if (!file->fd.open()) return {what_failed(errno)};
  // It may be another one by now.
  if (::fstat(file->fd.get(), &status) != 0) return {What::unavailable};
  if (const What what = what_is(status); what != What::file) return {what};
  describe(*file, status, name, now_s);
  if (file->size_bytes <= kContentBytesMax) {
    if (!read_content(file->fd.get(), *file)) return {What::unavailable};
    file->fd.reset();
  }
  return {What::file, std::move(file)};
}

namespace {

std::string html_text(std::string_view text) {
  std::string html;
  for (const char c : text) {
    if (c == '&') html += "&amp;";
    else if (c == '<') html += "&lt;";
    else if (c == '>') html += "&gt;";
    else if (c == '"') html += "&quot;";
    else html += c;
  }
  return html;
}

}  // namespace

Result<std::string> directory_page(int root, const std::string& name, Guard guard, bool hidden) {
  Fd fd = open_guarded(root, name, guard, kRead | O_DIRECTORY);
  DIR* directory = fd.open() ? ::fdopendir(fd.get()) : nullptr;
  if (directory == nullptr) return errno_error(Fault::unavailable, "reading the directory");
  (void)fd.release();
  std::vector<std::string> names;
  bool more = false;
  while (const dirent* entry = ::readdir(directory)) {
    std::string one = entry->d_name;
    if (one == "." || one == ".." || (!hidden && one.front() == '.')) continue;
    if (entry->d_type == DT_DIR) one += '/';
    else if (entry->d_type != DT_REG && entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) continue;
    if (names.size() == kPageNamesMax) {
      more = true;
      break;
    }
    names.push_back(std::move(one));
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  const std::string title = html_text("/" + name + (name.empty() ? "" : "/"));
  std::string page =
      "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>" + title + "</title>\n<h1>" + title + "</h1>\n<ul>\n";
  if (!name.empty()) page += "<li><a href=\"../\">../</a>\n";
  for (const std::string& one : names)
    page += "<li><a href=\"./" + percent_encoded(one) + "\">" + html_text(one) + "</a>\n";
  page += "</ul>\n";
  if (more) page += "<p>There are more than " + std::to_string(kPageNamesMax) + ".</p>\n";
  return page;
}

}  // namespace tap::services::files
