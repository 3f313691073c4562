#include "state/store.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "state/base/seeded.hpp"
#include "state/files.hpp"

namespace tap::state {
namespace {

constexpr char kQuarantine[] = "quarantine";
constexpr std::string_view kSegmentEnd = ".wal";
constexpr std::string_view kSpareMark = "-spare";
constexpr std::string_view kArchiveEnd = ".tap";
constexpr std::string_view kTemporaryEnd = ".tmp";
/// Rounds of a quarantined name's number before giving up; a person has to look at such a directory anyway.
constexpr int kQuarantineNamesMax = 10'000;

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// The generation in NAME-<generation>.tap.
std::optional<std::uint64_t> generation_of(std::string_view file) { return number_in_name(file, kArchiveEnd); }

std::string file_of(const Archive& archive) {
  return archive.definition.name + "-" + std::to_string(archive.generation) + std::string(kArchiveEnd);
}

Result<StoredArchive> decode_stored(ByteView bytes, const std::string& file, Payloads payloads = Payloads::copied) {
  Result<Archive> archive = decode_archive(bytes, payloads);
  if (!archive) return std::move(archive).error();
  return StoredArchive{std::move(archive).value(), archive_digest(bytes), file, bytes.size()};
}

}  // namespace

Store::Store(Fd directory) : directory_(directory.get()), disk_(open_disk(std::move(directory))) {}

Store::Store(std::unique_ptr<Disk> disk) : disk_(std::move(disk)) {}

Result<std::vector<Store::Candidate>> Store::candidates() const {
  Result<std::vector<std::string>> names = disk_->list();
  if (!names) return std::move(names).error();
  std::vector<Candidate> found;
  for (const std::string& name : *names) {
    if (const auto generation = generation_of(name)) found.push_back({name, *generation});
  }
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.generation > b.generation; });
  return found;
}

Result<StoredArchive> Store::read(const Candidate& candidate, Payloads payloads) const {
  Result<Bytes> bytes = disk_->read(candidate.file, true);
  if (!bytes) return std::move(bytes.error()).with("archive " + candidate.file);
  Result<StoredArchive> stored = decode_stored(*bytes, candidate.file, payloads);
  if (!stored) return std::move(stored.error()).with("archive " + candidate.file);
  if (stored->archive.generation != candidate.generation) {
    return Error{Fault::damaged, "archive " + candidate.file + ": it says that it is generation " +
                                     std::to_string(stored->archive.generation) + "; somebody has renamed it"};
  }
  return stored;
}

Result<void> Store::remove_leftovers() {
  Result<std::vector<std::string>> names = disk_->list();
  if (!names) return std::move(names).error();
  for (const std::string& name : *names) {
    if (!ends_with(name, kTemporaryEnd) || !owns(name)) continue;
    if (name.find(kSpareMark) != std::string::npos) continue;  // room for the journal: it looks after these itself
    if (Result<void> removed = disk_->remove(name); !removed) {
      return std::move(removed.error()).with("removing the interrupted write " + name);
    }
    report_.push_back("removed " + name + ", the rest of an interrupted save");
  }
  return {};
}

Result<void> Store::quarantine(const std::string& file, const std::string& why) {
  if (Result<void> made = disk_->make_directory(kQuarantine); !made) return made;
  for (int number = 0; number < kQuarantineNamesMax; ++number) {
    const std::string name =
        std::string(kQuarantine) + "/" + (number == 0 ? file : file + "." + std::to_string(number));
    Result<bool> moved = disk_->rename_to_free_name(file, name);
    if (!moved) return std::move(moved).error();
    if (!*moved) continue;
    report_.push_back("moved " + file + " to " + name + ": " + why);
    if (Result<void> synced = disk_->sync_directory(kQuarantine); !synced) return synced;
    return disk_->sync_directory();
  }
  return Error{Fault::cannot_create, "quarantine/ is full of files named " + file};
}

bool Store::owns(std::string_view name) {
  if (name == "LOCK" || name == kQuarantine) return true;
  if (ends_with(name, kTemporaryEnd)) {
    name.remove_suffix(kTemporaryEnd.size());
    if (ends_with(name, kSegmentEnd) && name.find(kSpareMark) != std::string_view::npos) return true;
  }
  return generation_of(name).has_value() || segment_first_lsn(name).has_value();
}

Result<std::optional<StoredArchive>> Store::load(bool look_only) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  if (found->empty()) {
    // The first archive is durable before the first segment: here somebody or something has taken the archives away.
    Result<std::vector<SegmentFile>> segments = list_segments(*disk_);
    if (!segments) return std::move(segments).error();
    if (!segments->empty()) {
      return Error{Fault::damaged,
                   "there is a journal (" + segments->front().file +
                       ") but no archive that it goes on from. Nothing was changed. Put the archive back, "
                       "or move the journal away to begin anew"};
    }
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
  if (!stored && stored.error().fault == Fault::damaged && found->size() > 1) {
    stored = fall_back(newest, (*found)[1], std::move(stored).error(), look_only);
  }
  if (!stored) return std::move(stored).error();
  if (look_only) return std::optional(std::move(stored).value());
  if (Result<void> cleared = remove_leftovers(); !cleared) return std::move(cleared).error();
  for (std::size_t i = 1; i < found->size(); ++i) {
    Result<StoredArchive> older = read((*found)[i], Payloads::checked);
    if (older || older.error().fault != Fault::damaged) continue;
    if (Result<void> moved = quarantine((*found)[i].file, older.error().message); !moved)
      return std::move(moved).error();
  }
  return std::optional(std::move(stored).value());
}

/// The newest archive is damaged. The one before it is as good when the journal goes on from there to the end of what
/// was durable: when the damaged one can still say that every state in it was journaled, and up to where, and the
/// journal reaches that. (A journal that ends with a seal proves nothing: a later opener may have kept none.)
Result<StoredArchive> Store::fall_back(const Candidate& damaged, const Candidate& older, Error error, bool look_only) {
  error.message += ". Nothing was changed. The older " + older.file +
                   " may be whole; `tapd --rewind -f` with a copy of it goes back to it knowingly";
  Result<StoredArchive> stored = read(older);
  if (!stored) return error;
  Result<Bytes> bytes = disk_->read(damaged.file);
  if (!bytes) return error;
  const std::optional<std::uint64_t> base = archive_base_lsn(*bytes);
  const std::optional<Definition> definition = archive_definition(*bytes);
  if (!base || !definition) return error;
  const bool journaled =
      std::none_of(definition->services.begin(), definition->services.end(), [&](const auto& service) {
        return (service.durability.empty() ? definition->durability : service.durability) == "shutdown";
      });
  if (!journaled) return error;
  Result<JournalEnd> end = read_journal(*disk_, stored->archive.lineage, stored->archive.base_lsn, nullptr);
  if (!end || end->segments.empty() || end->last_lsn < *base) return error;
  const std::string why = error.message.substr(0, error.message.find(". Nothing was changed"));
  if (!look_only) {
    if (Result<void> moved = quarantine(damaged.file, why); !moved) return std::move(moved).error();
  }
  report_.push_back(why + "; " + older.file + " and the journal since it are used instead: nothing is lost");
  return stored;
}

Result<JournalEnd> Store::replay(const Archive& archive, ReplaySink* sink, std::uint64_t until_lsn) {
  return read_journal(*disk_, archive.lineage, archive.base_lsn, sink, until_lsn);
}

Result<void> Store::settle(const Archive& archive, const JournalEnd& end) {
  if (end.tear && !TAP_SEEDED(append_after_tear)) {
    if (Result<void> cut = cut_tear(*disk_, end); !cut) return cut;
    report_.push_back("cut " + std::to_string(end.tear->bytes) + " bytes off " + end.tear->file + " at offset " +
                      std::to_string(end.tear->offset) +
                      ": a write that was not finished when everything ended; nobody was told of it. A copy is in "
                      "quarantine/");
  }
  for (const std::string& stranger : end.strangers) {
    if (archive.parent.none()) {
      return Error{Fault::damaged,
                   "the journal segment " + stranger + " belongs to another lineage than the archives; move it away"};
    }
    if (Result<void> moved = quarantine(stranger, "it is of a lineage that was left by --rewind"); !moved) return moved;
  }
  return {};
}

Result<std::unique_ptr<JournalWriter>> Store::start_journal(SegmentSupply& supply, const Archive& archive,
                                                            const JournalEnd& end, std::uint64_t epoch,
                                                            std::vector<Introduction> services) {
  supply.adopt_leftover();
  JournalWriter::Start start;
  start.name = archive.definition.name;
  start.lineage = archive.lineage;
  start.epoch = epoch;
  start.last_lsn = std::max(archive.base_lsn, end.last_lsn);
  start.chain = end.chain;
  start.services = std::move(services);
  return JournalWriter::open(*disk_, supply, std::move(start));
}

/// REQUIRES: `bytes` have been decoded, and are those of `archive`.
Result<StoredArchive> Store::write(ByteView bytes, Archive archive) {
  // It becomes part of a file's name: an archive from elsewhere must not choose where this program writes.
  if (!is_name(archive.definition.name)) {
    return Error{Fault::damaged, "'" + archive.definition.name + "' cannot name an application"};
  }
  const std::string file = file_of(archive);
  // It is read back before the rename: with the decoding that checks the encoder and the page cache, not the disk.
  if (Result<void> replaced = replace_on_disk(*disk_, file, bytes); !replaced) return std::move(replaced).error();
  return StoredArchive{std::move(archive), archive_digest(bytes), file, bytes.size()};
}

Result<StoredArchive> Store::write(Archive archive) {
  const Bytes bytes = encode_archive(archive);
  if (Result<Archive> checked = decode_archive(bytes, Payloads::checked); !checked) return std::move(checked).error();
  return write(bytes, std::move(archive));
}

/// Only the beginning is read: the archive may be large.
std::optional<std::uint64_t> Store::base_lsn(const std::string& file) const {
  constexpr std::size_t kBeginBytes = 4096;
  Result<std::unique_ptr<DiskFile>> open = disk_->open(file);
  Result<Bytes> bytes = open ? (*open)->read_at(0, kBeginBytes) : disk_->read(file);
  return bytes ? archive_base_lsn(*bytes) : std::nullopt;
}

Result<void> Store::set_older_aside(const std::string& why) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  for (std::size_t i = 1; i < found->size(); ++i) {
    if (Result<void> moved = quarantine((*found)[i].file, why); !moved) return moved;
  }
  return {};
}

void Store::tidy(std::uint64_t newest, SegmentSupply* supply) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return;
  std::size_t kept = 0;
  std::optional<std::uint64_t> needed_from;  // the base of the older archive that is kept
  for (const Candidate& candidate : *found) {
    if (candidate.generation > newest) continue;
    if (kept++ < 2) {
      needed_from = base_lsn(candidate.file);
      continue;
    }
    if (Result<void> removed = disk_->remove(candidate.file); !removed) {
      report_.push_back("could not remove the old " + candidate.file + "; it does no harm");
    }
  }
  if (kept < 2 || !needed_from) return;
  Result<std::vector<SegmentFile>> segments = list_segments(*disk_);
  if (!segments) return;
  // A segment is done with when a later one still holds what the older archive would need. (Two may begin with one LSN:
  // an empty one of an application that had another name then.)
  std::uint64_t first_needed = 0;
  for (const SegmentFile& segment : *segments) {
    if (segment.first_lsn <= *needed_from + 1) first_needed = segment.first_lsn;
  }
  for (const auto& [file, first_lsn] : *segments) {
    if (first_lsn >= first_needed) break;
    const Result<void> gone = supply != nullptr ? supply->recycle(file) : disk_->remove(file);
    if (!gone) report_.push_back("could not remove the old segment " + file + "; it does no harm");
  }
}

Result<StoredArchive> Store::add(Archive archive) {
  // A generation is given once: copies of an archive that is in quarantine now may be about.
  for (;;) {
    Result<bool> used = disk_->exists(std::string(kQuarantine) + "/" + file_of(archive));
    if (!used) return std::move(used).error();
    if (!*used) break;
    ++archive.generation;
  }
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  if (!found->empty() && found->front().generation >= archive.generation) {
    return Error{Fault::internal,
                 "generation " + std::to_string(archive.generation) + " is not above " + found->front().file};
  }
  if (TAP_SEEDED(early_removal)) {
    for (const Candidate& candidate : *found) (void)!disk_->remove(candidate.file).ok();
    (void)!disk_->sync_directory().ok();
  }
  const std::uint64_t generation = archive.generation;
  Result<StoredArchive> stored = write(std::move(archive));
  if (!stored) return std::move(stored.error()).with("saving generation " + std::to_string(generation));
  return stored;
}

Result<StoredArchive> Store::save(Archive archive) {
  Result<StoredArchive> stored = add(std::move(archive));
  if (stored) tidy(stored->archive.generation, nullptr);
  return stored;
}

Result<std::uint64_t> Store::newest_generation() const {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  return found->empty() ? 0 : found->front().generation;
}

Result<StoredArchive> Store::adopt(ByteView bytes) {
  Result<Archive> archive = decode_archive(bytes);
  Result<StoredArchive> stored = archive ? write(bytes, std::move(archive).value()) : std::move(archive).error();
  if (!stored) return std::move(stored.error()).with("taking the archive into the store");
  return stored;
}

Result<StoredArchive> Store::rewind(const Archive& archive, const Digest& digest) {
  Result<std::vector<Candidate>> found = candidates();
  if (!found) return std::move(found).error();
  Archive child = child_of(archive, digest);
  if (!found->empty()) child.generation = std::max(child.generation, found->front().generation + 1);
  if (child.generation <= archive.generation || (!found->empty() && child.generation <= found->front().generation)) {
    return Error{Fault::cannot_create, "rewinding the store: there is no generation above " +
                                           std::to_string(std::numeric_limits<std::uint64_t>::max())};
  }
  // The child is durable before anything moves: a crash in between leaves a store that holds the child as its newest.
  Result<StoredArchive> stored = write(std::move(child));
  if (!stored) return std::move(stored.error()).with("rewinding the store");
  std::vector<std::string> files;
  for (const Candidate& candidate : *found) files.push_back(candidate.file);
  Result<std::vector<SegmentFile>> segments = list_segments(*disk_);
  if (!segments) return std::move(segments).error();
  for (const SegmentFile& segment : *segments) files.push_back(segment.file);
  for (const std::string& file : files) {
    Result<bool> still_there = disk_->exists(file);
    if (!still_there) return std::move(still_there).error();
    if (!*still_there) continue;
    if (Result<void> moved = quarantine(file, "--rewind chose an older archive"); !moved) {
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
  return copy_file(directory_, found->front().file, to_dir, name);
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
