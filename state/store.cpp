#include "state/store.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>

#include "state/files.hpp"

namespace tap::state {
namespace {

constexpr char kQuarantine[] = "quarantine";
constexpr std::string_view kArchiveEnd = ".tap";
constexpr std::string_view kTemporaryEnd = ".tmp";
/// Rounds of a quarantined name's number before giving up; a person has to look at such a directory anyway.
constexpr int kQuarantineNamesMax = 10'000;

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// The generation in NAME-<generation>.tap, if `file` has that shape.
std::optional<std::uint64_t> generation_of(std::string_view file) {
  if (!ends_with(file, kArchiveEnd)) return std::nullopt;
  file.remove_suffix(kArchiveEnd.size());
  const std::size_t dash = file.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const std::string_view digits = file.substr(dash + 1);
  std::uint64_t generation = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), generation);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return generation;
}

std::string file_of(const Archive& archive) {
  return archive.definition.name + "-" + std::to_string(archive.generation) + std::string(kArchiveEnd);
}

Result<StoredArchive> decode_stored(ByteView bytes, const std::string& file) {
  Result<Archive> archive = decode_archive(bytes);
  if (!archive) return std::move(archive).error();
  return StoredArchive{std::move(archive).value(), archive_digest(bytes), file};
}

}  // namespace

Result<std::vector<Store::Candidate>> Store::candidates() const {
  Result<std::vector<std::string>> names = list_directory(directory_.get());
  if (!names) return std::move(names).error();
  std::vector<Candidate> found;
  for (const std::string& name : *names) {
    if (const auto generation = generation_of(name)) found.push_back({name, *generation});
  }
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.generation > b.generation; });
  return found;
}

Result<StoredArchive> Store::read(const Candidate& candidate) const {
  Result<Bytes> bytes = read_file(directory_.get(), candidate.file);
  if (!bytes) return std::move(bytes.error()).with("archive " + candidate.file);
  Result<StoredArchive> stored = decode_stored(*bytes, candidate.file);
  if (!stored) return std::move(stored.error()).with("archive " + candidate.file);
  if (stored->archive.generation != candidate.generation) {
    return Error{Fault::damaged, "archive " + candidate.file + ": it says that it is generation " +
                                     std::to_string(stored->archive.generation) + "; somebody has renamed it"};
  }
  return stored;
}

Result<void> Store::remove_leftovers() {
  Result<std::vector<std::string>> names = list_directory(directory_.get());
  if (!names) return std::move(names).error();
  for (const std::string& name : *names) {
    if (!ends_with(name, kTemporaryEnd) || !owns(name)) continue;
    if (::unlinkat(directory_.get(), name.c_str(), 0) != 0) {
      return errno_error(Fault::cannot_create, "removing the interrupted write " + name);
    }
    report_.push_back("removed " + name + ", the rest of an interrupted save");
  }
  return {};
}

Result<void> Store::quarantine(const std::string& file, const std::string& why) {
  Result<Fd> aside = make_directory(directory_.get(), kQuarantine);
  if (!aside) return std::move(aside).error();
  for (int number = 0; number < kQuarantineNamesMax; ++number) {
    const std::string name = number == 0 ? file : file + "." + std::to_string(number);
    if (::renameat2(directory_.get(), file.c_str(), aside->get(), name.c_str(), RENAME_NOREPLACE) == 0) {
      report_.push_back("moved " + file + " to quarantine/" + name + ": " + why);
      if (Result<void> synced = sync_directory(aside->get()); !synced) return synced;
      return sync_directory(directory_.get());
    }
    if (errno != EEXIST) return errno_error(Fault::cannot_create, "moving " + file + " to quarantine");
  }
  return Error{Fault::cannot_create, "quarantine/ is full of files named " + file};
}

bool Store::owns(std::string_view name) {
  if (name == "LOCK" || name == kQuarantine) return true;
  if (ends_with(name, kTemporaryEnd)) name.remove_suffix(kTemporaryEnd.size());
  return generation_of(name).has_value();
}

Result<std::optional<StoredArchive>> Store::load(bool look_only) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  if (found->empty()) {
    Result<void> cleared = look_only ? Result<void>() : remove_leftovers();
    if (!cleared) return std::move(cleared).error();
    return std::optional<StoredArchive>{};
  }
  const Candidate& newest = found->front();
  if (found->size() > 1 && (*found)[1].generation == newest.generation) {
    return Error{Fault::damaged, "there are two archives of generation " + std::to_string(newest.generation) + ": " +
                                     newest.file + " and " + (*found)[1].file + "; move one of them away"};
  }
  Result<StoredArchive> stored = read(newest);
  if (!stored) {
    Error error = std::move(stored).error();
    if (found->size() > 1 && error.fault == Fault::damaged) {
      error.message += ". Nothing was changed. The older " + (*found)[1].file +
                       " may be whole; `tapd --rewind -f` with a copy of it goes back to it knowingly";
    }
    return error;
  }
  if (look_only) return std::optional(std::move(stored).value());
  if (Result<void> cleared = remove_leftovers(); !cleared) return std::move(cleared).error();
  for (std::size_t i = 1; i < found->size(); ++i) {
    Result<StoredArchive> older = read((*found)[i]);
    if (older || older.error().fault != Fault::damaged) continue;
    if (Result<void> moved = quarantine((*found)[i].file, older.error().message); !moved)
      return std::move(moved).error();
  }
  return std::optional(std::move(stored).value());
}

Result<StoredArchive> Store::write(ByteView bytes) {
  Result<Archive> archive = decode_archive(bytes);
  if (!archive) return std::move(archive).error();
  // It becomes part of a file's name: an archive from elsewhere must not choose where this program writes.
  if (!is_name(archive->definition.name)) {
    return Error{Fault::damaged, "'" + archive->definition.name + "' cannot name an application"};
  }
  const std::string file = file_of(*archive);
  // Decoding what was read back checks the encoder and the page cache, not the disk: that is recovery's work.
  const auto same = [bytes](ByteView read_back) -> Result<void> {
    if (read_back != bytes) return Error{Fault::internal, "what was read back is not what was written"};
    Result<Archive> decoded = decode_archive(read_back);
    if (!decoded) return std::move(decoded).error();
    return {};
  };
  if (Result<void> replaced = replace_file(directory_.get(), file, bytes, same); !replaced) {
    return std::move(replaced).error();
  }
  return StoredArchive{std::move(archive).value(), archive_digest(bytes), file};
}

void Store::remove_old_generations(std::uint64_t newest) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return;
  std::size_t kept = 0;
  for (const Candidate& candidate : *found) {
    if (candidate.generation > newest || kept++ < 2) continue;
    if (::unlinkat(directory_.get(), candidate.file.c_str(), 0) != 0) {
      report_.push_back("could not remove the old " + candidate.file + "; it does no harm");
    }
  }
}

Result<StoredArchive> Store::save(const Archive& archive) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  if (!found->empty() && found->front().generation >= archive.generation) {
    return Error{Fault::internal,
                 "generation " + std::to_string(archive.generation) + " is not above " + found->front().file};
  }
  Result<StoredArchive> stored = write(encode_archive(archive));
  if (!stored) return std::move(stored.error()).with("saving generation " + std::to_string(archive.generation));
  remove_old_generations(archive.generation);
  return stored;
}

Result<StoredArchive> Store::adopt(ByteView bytes) {
  Result<StoredArchive> stored = write(bytes);
  if (!stored) return std::move(stored.error()).with("taking the archive into the store");
  return stored;
}

Result<StoredArchive> Store::rewind(const Archive& archive, const Digest& digest) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  Archive child = archive;
  child.lineage = Lineage::make();
  child.parent = archive.lineage;
  child.parent_generation = archive.generation;
  child.parent_digest = digest;
  child.ancestors.clear();
  child.generation = archive.generation + 1;
  child.created_ms = wall_clock_ms();
  child.writer = writer_name();
  if (!found->empty()) child.generation = std::max(child.generation, found->front().generation + 1);
  if (child.generation <= archive.generation || (!found->empty() && child.generation <= found->front().generation)) {
    return Error{Fault::cannot_create, "rewinding the store: there is no generation above " +
                                           std::to_string(std::numeric_limits<std::uint64_t>::max())};
  }
  // The child is durable before anything moves: a crash in between leaves a store that holds the child as its newest.
  Result<StoredArchive> stored = write(encode_archive(child));
  if (!stored) return std::move(stored.error()).with("rewinding the store");
  for (const Candidate& candidate : *found) {
    const Fd still_there(::openat(directory_.get(), candidate.file.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
    if (!still_there.open()) continue;
    if (Result<void> moved = quarantine(candidate.file, "--rewind chose an older archive"); !moved) {
      return std::move(moved).error();
    }
  }
  return stored;
}

Relation Store::relation(const std::optional<StoredArchive>& present, const Archive& archive, const Digest& digest) {
  if (!present) return Relation::store_is_empty;
  if (present->digest == digest) return Relation::present;
  const Archive& newest = present->archive;
  if (newest.parent == archive.lineage && newest.parent_digest == digest) return Relation::ancestor;
  if (newest.lineage != archive.lineage) return Relation::unrelated;
  const Ancestor wanted = make_ancestor(archive.generation, digest);
  const bool known = std::find(newest.ancestors.begin(), newest.ancestors.end(), wanted) != newest.ancestors.end();
  return known ? Relation::ancestor : Relation::unrelated;
}

Result<void> Store::copy_newest(int to_dir, const std::string& name) const {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  if (found->empty()) return Error{Fault::no_input, "the store is empty"};
  return copy_file(directory_.get(), found->front().file, to_dir, name);
}

Result<std::vector<StoreEntry>> Store::list() const {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  std::vector<StoreEntry> entries;
  for (const Candidate& candidate : *found) entries.push_back({candidate.file, candidate.generation, read(candidate)});
  return entries;
}

Result<StoredArchive> read_archive_file(const std::string& path) {
  Result<Bytes> bytes = read_file(AT_FDCWD, path);
  if (!bytes) return std::move(bytes).error();
  Result<StoredArchive> stored = decode_stored(*bytes, path);
  if (!stored) return std::move(stored.error()).with(path);
  return stored;
}

}  // namespace tap::state
