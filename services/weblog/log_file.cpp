#include "services/weblog/log_file.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "services/weblog/hit.hpp"
#include "state/base/crc32c.hpp"

namespace tap::services::weblog {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{64} * 1024;
static_assert(kChunkBytes > 2 * kLineBytesMax);

/// As much of `size` bytes at `offset` as there is; shorter at the end of the file.
Result<std::string> read_at(int fd, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    const ssize_t got = ::pread(fd, bytes.data() + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(Fault::internal, "reading the log");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace

void HitBatch::take(std::string_view line, std::uint64_t keep) {
  const std::optional<Hit> hit = line.size() <= kLineBytesMax ? parse_hit(line) : std::nullopt;
  if (!hit) {
    ++malformed;
    return;
  }
  append_hit(xml, *hit);
  ends.push_back(static_cast<std::uint32_t>(xml.size()));
  lines.emplace_back(line);
  if (lines.size() > keep) lines.pop_front();
}

// --- reading ------------------------------------------------------------------------------------------------------

Result<bool> LogFile::read(HitBatch& batch, std::size_t& bytes_max, std::uint64_t keep) {
  while (bytes_max > 0) {
    Result<std::string> chunk = read_at(fd->get(), place.offset, kChunkBytes);
    if (!chunk) return std::move(chunk).error();
    const std::uint64_t before = place.offset;
    consume(*chunk, batch, keep);
    const std::uint64_t consumed = place.offset - before;
    if (consumed != 0) {
      if (Result<void> known = know_begin(); !known) return std::move(known).error();
    }
    bytes_max -= std::min<std::size_t>(bytes_max, consumed);
    if (chunk->size() < kChunkBytes) return true;
  }
  return false;
}

void LogFile::consume(std::string_view chunk, HitBatch& batch, std::uint64_t keep) {
  while (!chunk.empty()) {
    const std::size_t newline = chunk.find('\n');
    if (newline == std::string_view::npos) break;
    if (!std::exchange(place.skipping, false)) batch.take(chunk.substr(0, newline), keep);
    place.offset += newline + 1;
    chunk.remove_prefix(newline + 1);
  }
  // A line that is too long is counted once, and passed by without being kept anywhere.
  if (chunk.size() <= kLineBytesMax && !place.skipping) return;
  if (!std::exchange(place.skipping, true)) ++batch.malformed;
  place.offset += chunk.size();
}

void LogFile::take_rest(HitBatch& batch, std::uint64_t keep) {
  const Result<std::string> rest = read_at(fd->get(), place.offset, kLineBytesMax + 1);
  if (!rest || rest->empty()) return;
  if (!place.skipping) batch.take(*rest, keep);
  place.offset += rest->size();
}

Result<void> LogFile::go_to_end() {
  struct stat about {};
  if (::fstat(fd->get(), &about) != 0) return errno_error(Fault::internal, "looking at the log");
  const auto size = static_cast<std::uint64_t>(about.st_size);
  const std::uint64_t from = size - std::min<std::uint64_t>(size, kLineBytesMax + 1);
  const Result<std::string> last = read_at(fd->get(), from, static_cast<std::size_t>(size - from));
  if (!last) return last.error();
  const std::size_t newline = last->rfind('\n');
  place.skipping = newline == std::string::npos && from != 0;
  place.offset = place.skipping ? size : newline == std::string::npos ? 0 : from + newline + 1;
  return know_begin();
}

// --- knowing a file again -----------------------------------------------------------------------------------------

Result<void> LogFile::know_begin() {
  const auto wanted = static_cast<std::uint32_t>(std::min<std::uint64_t>(place.offset, LogPlace::kBeginBytesMax));
  if (place.begin_bytes == wanted) return {};
  const Result<std::string> begin = read_at(fd->get(), 0, wanted);
  if (!begin) return begin.error();
  place.begin_bytes = static_cast<std::uint32_t>(begin->size());
  place.begin_sum = crc32c(*begin);
  return {};
}

bool LogFile::cut() const { return !begins_as(fd->get(), place); }

bool begins_as(int fd, const LogPlace& place) {
  struct stat about {};
  if (::fstat(fd, &about) != 0 || static_cast<std::uint64_t>(about.st_size) < place.offset) return false;
  const Result<std::string> begin = read_at(fd, 0, place.begin_bytes);
  return begin.ok() && begin->size() == place.begin_bytes && crc32c(*begin) == place.begin_sum;
}

Result<Fd> open_log(const std::string& path, struct stat& about) {
  // Without O_NONBLOCK the opening of a pipe would wait for its writer.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.open()) {
    const Fault fault = errno == ENOENT || errno == ENOTDIR ? Fault::no_input
                        : errno == EACCES                   ? Fault::permission
                                                            : Fault::internal;
    return errno_error(fault, "opening " + path);
  }
  if (::fstat(fd.get(), &about) != 0) return errno_error(Fault::internal, "looking at " + path);
  if (!S_ISREG(about.st_mode)) return Error{Fault::internal, path + " is not a file"};
  return fd;
}

}  // namespace tap::services::weblog
