#include <algorithm>
#include <charconv>
#include <tuple>

#include "state/base/seeded.hpp"
#include "state/journal.hpp"

namespace tap::state {
namespace {

constexpr std::string_view kSegmentEnd = ".wal";
constexpr int kQuarantineNamesMax = 10'000;

/// One reading of the journal, segment after segment.
class Reader {
 public:
  Reader(Disk& disk, const Lineage& lineage, std::uint64_t base_lsn, std::uint64_t until_lsn, ReplaySink* sink)
      : disk_(disk), lineage_(lineage), base_lsn_(base_lsn), until_lsn_(until_lsn), sink_(sink) {}

  Result<JournalEnd> read() {
    end_.last_lsn = base_lsn_;
    if (Result<void> sorted = sort_segments(); !sorted) return std::move(sorted).error();
    const std::vector<SegmentFile>& all = end_.segments;
    std::size_t first = 0;
    while (first + 1 < all.size() && all[first + 1].first_lsn <= base_lsn_ + 1) ++first;
    if (!all.empty() && all[first].first_lsn > base_lsn_ + 1) {
      return Error{Fault::damaged, "the journal begins with LSN " + std::to_string(all[first].first_lsn) + " (" +
                                       all[first].file + "), but the archive ends with LSN " +
                                       std::to_string(base_lsn_) + ": a segment is missing"};
    }
    const bool open_ended = until_lsn_ == std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = first; i < all.size(); ++i) {
      const bool last = open_ended && i + 1 == all.size();  // only there may a write have been under way
      if (Result<void> read = read_segment(all[i], i == first, last); !read) return std::move(read).error();
    }
    if (!open_ended && end_.last_lsn != until_lsn_) {
      return Error{Fault::damaged, "the journal ends with LSN " + std::to_string(end_.last_lsn) + ", not with " +
                                       std::to_string(until_lsn_)};
    }
    return std::move(end_);
  }

 private:
  struct Found {
    SegmentFile segment;
    std::uint64_t epoch;
  };

  /// Headers only: which segments are ours, in which order, and that epochs never fall.
  Result<void> sort_segments() {
    Result<std::vector<Found>> ours = find_segments();
    if (!ours) return std::move(ours).error();
    // Two may begin with one LSN: the older one is empty, and of an application that had another name then.
    std::sort(ours->begin(), ours->end(), [](const Found& a, const Found& b) {
      return std::tie(a.segment.first_lsn, a.epoch) < std::tie(b.segment.first_lsn, b.epoch);
    });
    for (const auto& [segment, epoch] : *ours) {
      if (epoch < end_.epoch) {
        return damage(segment.file, 0, "it is of an older epoch than the segment before it");
      }
      if (!end_.segments.empty() && epoch == end_.epoch && end_.segments.back().first_lsn == segment.first_lsn) {
        return damage(segment.file, 0, "it begins where " + end_.segments.back().file + " begins: one is a copy");
      }
      end_.epoch = epoch;
      end_.segments.push_back(segment);
    }
    return {};
  }

  Result<std::vector<Found>> find_segments() {
    Result<std::vector<SegmentFile>> found = list_segments(disk_);
    if (!found) return std::move(found).error();
    std::vector<Found> ours;
    // From the last to the first: one that is folded in already, as a later one of ours says, is of no interest,
    // whatever is in it.
    std::uint64_t folded_before = 0;
    for (auto segment = found->rbegin(); segment != found->rend(); ++segment) {
      if (segment->first_lsn > until_lsn_) continue;
      Result<SegmentHeader> header = header_of(segment->file);
      const bool folded = segment->first_lsn < folded_before;
      if (!header && folded) continue;
      if (!header) return std::move(header.error()).with("journal " + segment->file);
      if (header->lineage != lineage_) {
        end_.strangers.insert(end_.strangers.begin(), segment->file);
        continue;
      }
      if (header->first_lsn != segment->first_lsn) {
        if (folded) continue;
        return damage(segment->file, 0, "somebody has renamed it");
      }
      if (segment->first_lsn <= base_lsn_ + 1) folded_before = std::max(folded_before, segment->first_lsn);
      ours.push_back({*segment, header->epoch});
    }
    return ours;
  }

  Result<SegmentHeader> header_of(const std::string& file) {
    Result<std::unique_ptr<DiskFile>> open = disk_.open(file);
    if (!open) return std::move(open).error();
    Result<Bytes> bytes = (*open)->read_at(0, kSegmentHeaderBytes);
    if (!bytes) return std::move(bytes).error();
    return decode_segment_header(*bytes);
  }

  Result<void> read_segment(const SegmentFile& segment, bool first, bool last) {
    Result<Disk::Trimmed> read = disk_.read_trimmed(segment.file);
    if (!read) return std::move(read.error()).with("journal " + segment.file);
    Result<SegmentHeader> header = decode_segment_header(read->bytes);
    if (!header) return std::move(header.error()).with("journal " + segment.file);
    if (read->file_bytes != header->segment_bytes) {
      return damage(segment.file, read->file_bytes,
                    "it was made with " + std::to_string(header->segment_bytes) + " bytes and has " +
                        std::to_string(read->file_bytes));
    }
    if (!first && (header->first_lsn != end_.last_lsn + 1 || header->previous_chain != end_.chain)) {
      return damage(segment.file, 0,
                    "it does not continue the segment before it, which ends with LSN " + std::to_string(end_.last_lsn));
    }
    if (first) next_lsn_ = header->first_lsn;
    end_.chain = header->previous_chain;
    return read_batches(segment.file, *read, *header, last);
  }

  /// Zeros at the end that belong to a batch are put back: a record may end with them.
  static std::optional<ParsedBatch> next_batch(Disk::Trimmed& segment, std::size_t offset, const SegmentHeader& header,
                                               std::uint32_t chain) {
    const std::uint32_t seed = segment_seed(header);
    if (const std::optional<BatchHeader> begun = batch_header_at(segment.bytes, offset, seed)) {
      const std::size_t end = offset + padded_batch_bytes(begun->record_bytes, header.block_bytes);
      if (end > segment.bytes.size() && end <= segment.file_bytes) segment.bytes.resize(end, '\0');
    }
    return batch_at(segment.bytes, offset, seed, header.block_bytes, chain);
  }

  Result<void> read_batches(const std::string& file, Disk::Trimmed& segment, const SegmentHeader& header, bool last) {
    const std::uint32_t seed = segment_seed(header);
    std::uint32_t chain = chain_start(header);
    std::size_t offset = kSegmentDataOffset;
    introduced_.clear();
    end_.sealed = false;
    while (const std::optional<ParsedBatch> batch = next_batch(segment, offset, header, chain)) {
      if (end_.sealed) return damage(file, offset, "a batch follows the segment's seal");
      if (batch->header.first_lsn != next_lsn_) return damage(file, offset, "its LSN is not the next one");
      if (Result<void> taken = take(file, offset, *batch); !taken) return taken;
      chain = batch->chain;
      offset += batch->bytes;
    }
    if (end_.sealed) return {};
    const ByteView bytes = segment.bytes;
    // Whatever stands here was not finished, or was damaged later. A batch that follows tells which.
    for (std::size_t at = offset; at < bytes.size(); at += header.block_bytes) {
      if (at == offset || !batch_header_at(bytes, at, seed)) continue;
      return damage(file, offset, "the batch at offset " + std::to_string(at) + " proves that it was durable");
    }
    const std::size_t used = bytes.find_last_not_of('\0') + 1;  // segments begin their life full of zeros
    if (used <= offset) return {};
    if (!last) return damage(file, offset, "the segment that follows proves that it was durable");
    end_.tear = Tear{file, offset, used - offset};
    return {};
  }

  Result<void> take(const std::string& file, std::size_t offset, const ParsedBatch& batch) {
    const BatchHeader& header = batch.header;
    end_.sealed = (header.flags & kSeal) != 0;
    const bool folded = header.first_lsn + header.lsn_count <= base_lsn_ + 1;
    if (!folded && header.first_lsn <= base_lsn_) return damage(file, offset, "the archive ends inside of it");
    ByteReader reader(batch.records);
    while (reader.left() > 0) {
      const Record record = read_record(reader);
      if (!reader.ok()) return damage(file, offset, "a record does not fit the batch");
      if (Result<void> replayed = take_record(record, folded); !replayed) {
        return std::move(replayed.error()).with("journal " + file + ", batch at offset " + std::to_string(offset));
      }
    }
    if (header.lsn_count == 0) return {};
    next_lsn_ = header.first_lsn + header.lsn_count;
    end_.last_lsn = std::max(end_.last_lsn, header.last_lsn());
    end_.chain = batch.chain;
    if (!folded) ++end_.batches;
    if (!folded && sink_ != nullptr) sink_->batch_replayed(end_.last_lsn);
    return {};
  }

  Result<void> take_record(const Record& record, bool folded) {
    if (record.type == RecordType::introduction) {
      Result<Introduction> introduction = decode_introduction(record.payload);
      if (!introduction) return std::move(introduction).error();
      if (introduced_.size() <= record.number) introduced_.resize(record.number + std::size_t{1});
      introduced_[record.number] = std::move(introduction).value();
      return {};
    }
    if (record.type != RecordType::change && record.type != RecordType::whole) {
      return Error{Fault::config, "a record of a type that this program does not know"};
    }
    if (record.number >= introduced_.size() || introduced_[record.number].service.empty()) {
      return Error{Fault::damaged, "a record of a service that the segment has not introduced"};
    }
    if (folded) return {};
    ++end_.records;
    return sink_ == nullptr ? Result<void>() : sink_->replay(introduced_[record.number], record.type, record.payload);
  }

  static Error damage(const std::string& file, std::uint64_t offset, const std::string& why) {
    return Error{Fault::damaged,
                 "journal " + file + " is damaged at offset " + std::to_string(offset) + ": " + why +
                     ". Nothing was changed. `tap repair` with the store's directory tells what can be had of it"};
  }

  Disk& disk_;
  const Lineage& lineage_;
  std::uint64_t base_lsn_;
  std::uint64_t until_lsn_;
  ReplaySink* sink_;
  JournalEnd end_;
  std::uint64_t next_lsn_ = 0;
  std::vector<Introduction> introduced_;  // of the segment that is read, by number
};

Result<void> copy_to_quarantine(Disk& disk, const Tear& tear, ByteView bytes) {
  if (Result<void> made = disk.make_directory("quarantine"); !made) return made;
  const std::string base = "quarantine/" + tear.file + "." + std::to_string(tear.offset);
  for (int number = 0; number < kQuarantineNamesMax; ++number) {
    const std::string name = number == 0 ? base : base + "." + std::to_string(number);
    Result<bool> there = disk.exists(name);
    if (!there) return std::move(there).error();
    if (*there) continue;
    Result<std::unique_ptr<DiskFile>> copy = disk.create(name);
    if (!copy) return std::move(copy).error();
    if (Result<void> written = (*copy)->write_at(0, bytes); !written) return written;
    if (Result<void> synced = (*copy)->sync(); !synced) return synced;
    return disk.sync_directory("quarantine");
  }
  return Error{Fault::cannot_create, "quarantine/ is full of files named " + base};
}

}  // namespace

std::optional<std::uint64_t> number_in_name(std::string_view file, std::string_view end) {
  if (file.size() <= end.size() || file.substr(file.size() - end.size()) != end) return std::nullopt;
  file.remove_suffix(end.size());
  const std::size_t dash = file.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const std::string_view digits = file.substr(dash + 1);
  std::uint64_t number = 0;
  const auto [stopped, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || stopped != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> segment_first_lsn(std::string_view file) { return number_in_name(file, kSegmentEnd); }

bool JournalEnd::unclean() const {
  if (TAP_SEEDED(append_after_tear)) return false;
  return records != 0 || !sealed || tear.has_value();
}

Result<std::vector<SegmentFile>> list_segments(Disk& disk) {
  Result<std::vector<std::string>> names = disk.list();
  if (!names) return std::move(names).error();
  std::vector<SegmentFile> segments;
  for (const std::string& name : *names) {
    if (const auto first = segment_first_lsn(name)) segments.push_back({name, *first});
  }
  std::sort(segments.begin(), segments.end(),
            [](const SegmentFile& a, const SegmentFile& b) { return a.first_lsn < b.first_lsn; });
  return segments;
}

Result<JournalEnd> read_journal(Disk& disk, const Lineage& lineage, std::uint64_t base_lsn, ReplaySink* sink,
                                std::uint64_t until_lsn) {
  return Reader(disk, lineage, base_lsn, until_lsn, sink).read();
}

Result<void> cut_tear(Disk& disk, const JournalEnd& end) {
  if (!end.tear) return {};
  const Tear& tear = *end.tear;
  Result<std::unique_ptr<DiskFile>> file = disk.open(tear.file);
  if (!file) return std::move(file).error();
  Result<Bytes> torn = (*file)->read_at(tear.offset, static_cast<std::size_t>(tear.bytes));
  if (!torn) return std::move(torn).error();
  if (Result<void> copied = copy_to_quarantine(disk, tear, *torn); !copied) {
    return std::move(copied.error()).with("keeping the torn end of " + tear.file);
  }
  if (Result<void> zeroed = (*file)->write_at(tear.offset, Bytes(torn->size(), '\0')); !zeroed) return zeroed;
  return (*file)->sync();
}

}  // namespace tap::state
