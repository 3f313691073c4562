#include <algorithm>
#include <cstdlib>

#include "state/archive.hpp"
#include "state/base/seeded.hpp"
#include "state/journal.hpp"

namespace tap::state {
namespace {

constexpr std::string_view kSpare = "-spare";
constexpr std::string_view kSpareEnd = ".wal.tmp";
/// Stands in the name of a spare as long as its zeros are not known to be durable.
constexpr std::string_view kFilling = ".filling";

/// Zeros are written in pieces: a commit on the same disk does not have to wait for all of a segment.
constexpr std::size_t kZeroPieceBytes = std::size_t{256} << 10U;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::string filling_name(const std::string& spare) {
  return spare.substr(0, spare.size() - kSpareEnd.size()) + std::string(kFilling) + std::string(kSpareEnd);
}

/// The zeros are there for good: memory that is taken and given back in this thread has the page tables of the whole
/// process flushed, and costs the loop more than the zeros.
Result<void> fill_with_zeros(DiskFile& file, std::size_t bytes) {
  static constexpr char kZeros[kZeroPieceBytes] = {};
  for (std::size_t at = 0; at < bytes; at += kZeroPieceBytes) {
    const std::size_t piece = std::min(kZeroPieceBytes, bytes - at);
    if (Result<void> written = file.write_at(at, ByteView(kZeros, piece)); !written) return written;
  }
  return file.sync();
}

}  // namespace

// --- SegmentSupply ----------------------------------------------------------------------------------------------

SegmentSupply::SegmentSupply(Disk& disk, std::string name, std::size_t segment_bytes)
    : disk_(disk), name_(std::move(name)), segment_bytes_(segment_bytes) {
  TAP_ASSERT(segment_bytes > kSegmentDataOffset && segment_bytes % kSegmentDataOffset == 0);
}

std::string SegmentSupply::next_file() {
  const std::lock_guard<std::mutex> hold(lock_);
  return name_ + std::string(kSpare) + std::to_string(++made_) + std::string(kSpareEnd);
}

void SegmentSupply::adopt_leftover() {
  const std::lock_guard<std::mutex> one_at_a_time(preparing_);
  const Result<std::vector<std::string>> names = disk_.list();
  if (!names) return;
  const std::string begin = name_ + std::string(kSpare);
  for (const std::string& name : *names) {
    if (name.size() <= begin.size() + kSpareEnd.size() || name.compare(0, begin.size(), begin) != 0 ||
        name.compare(name.size() - kSpareEnd.size(), kSpareEnd.size(), kSpareEnd) != 0) {
      continue;
    }
    made_ = std::max<std::uint64_t>(made_, std::strtoull(name.c_str() + begin.size(), nullptr, 10));
    if (name.find(kFilling) == std::string::npos && ready_bytes() == 0 && adopt(name)) continue;
    (void)!disk_.remove(name).ok();
  }
}

/// Only a whole one, full of zeros. Its name says that they were durable once; memory could not tell: it shows what was
/// written also after the sync has failed.
bool SegmentSupply::adopt(const std::string& file) {
  Result<std::unique_ptr<DiskFile>> open = disk_.open(file);
  if (!open) return false;
  const Result<std::uint64_t> size = (*open)->size();
  if (!size || *size != segment_bytes_) return false;
  const Result<std::uint64_t> used = used_bytes(**open);
  if (!used || *used != 0) return false;
  if (!(*open)->sync()) return false;
  offer({file, std::move(open).value(), segment_bytes_});
  return true;
}

void SegmentSupply::offer(Spare spare) {
  const std::lock_guard<std::mutex> hold(lock_);
  spare_ = std::move(spare);
  ready_bytes_.store(spare_->bytes, std::memory_order_release);
}

Result<void> SegmentSupply::prepare(std::size_t bytes) {
  bytes = round_up(std::max(bytes, segment_bytes_), kSegmentDataOffset);
  const std::lock_guard<std::mutex> one_at_a_time(preparing_);
  if (ready_bytes() >= bytes) return {};
  Spare made{next_file(), nullptr, bytes};
  Result<std::unique_ptr<DiskFile>> file = disk_.create(filling_name(made.file));
  if (!file) return std::move(file.error()).with("making room for the journal");
  made.open = std::move(file).value();
  if (Result<void> filled = fill(std::move(made)); !filled) {
    return std::move(filled.error()).with("making room for the journal");
  }
  return {};
}

/// The file stands under its filling name. Ready, or gone.
Result<void> SegmentSupply::fill(Spare spare) {
  const std::string filling = filling_name(spare.file);
  Result<void> filled = fill_with_zeros(*spare.open, spare.bytes);
  if (filled) filled = disk_.rename(filling, spare.file);
  if (!filled) {
    (void)!disk_.remove(filling).ok();
    return filled;
  }
  if (std::optional<Spare> smaller = take(0)) (void)!disk_.remove(smaller->file).ok();
  offer(std::move(spare));
  return {};
}

Result<void> SegmentSupply::recycle(const std::string& file) {
  const std::lock_guard<std::mutex> one_at_a_time(preparing_);
  Result<std::unique_ptr<DiskFile>> open = disk_.open(file);
  if (!open) return std::move(open).error();
  Result<std::uint64_t> size = (*open)->size();
  if (!size) return std::move(size).error();
  if (ready_bytes() != 0 || *size != segment_bytes_) return disk_.remove(file);
  Spare again{next_file(), std::move(open).value(), segment_bytes_};
  const std::string filling = filling_name(again.file);
  if (Result<void> renamed = disk_.rename(file, filling); !renamed) return renamed;
  // The old name has to be gone for good before anything new is written: a power cut that brings it back would find
  // another segment under it.
  if (Result<void> synced = disk_.sync_directory(); !synced) {
    (void)!disk_.remove(filling).ok();
    return synced;
  }
  // What it held must be gone before it can hold something new: leftovers would look like a torn batch.
  return fill(std::move(again));
}

std::optional<SegmentSupply::Spare> SegmentSupply::take(std::size_t bytes) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!spare_ || spare_->bytes < bytes) return std::nullopt;
  ready_bytes_.store(0, std::memory_order_release);
  return std::exchange(spare_, std::nullopt);
}

// --- JournalWriter ----------------------------------------------------------------------------------------------

Result<std::unique_ptr<JournalWriter>> JournalWriter::open(Disk& disk, SegmentSupply& supply, Start start) {
  std::unique_ptr<JournalWriter> writer(new JournalWriter(disk, supply, std::move(start)));
  writer->last_lsn_ = writer->start_.last_lsn;
  writer->record_chain_ = writer->start_.chain;
  if (Result<void> begun = writer->begin_segment(0); !begun) return std::move(begun).error();
  return writer;
}

/// A segment is whole, header and all, before it gets the name by which recovery finds it.
Result<void> JournalWriter::begin_segment(std::size_t bytes_needed) {
  const std::size_t bytes = std::max(kSegmentDataOffset + bytes_needed, supply_.segment_bytes());
  std::optional<SegmentSupply::Spare> spare = supply_.take(bytes);
  if (!spare) {
    if (Result<void> prepared = supply_.prepare(bytes); !prepared) return prepared;
    spare = supply_.take(bytes);
    TAP_ASSERT(spare.has_value());
  }
  SegmentHeader header;
  header.block_bytes = static_cast<std::uint32_t>(disk_.block_bytes());
  header.segment_bytes = spare->bytes;
  header.lineage = start_.lineage;
  header.epoch = start_.epoch;
  header.first_lsn = last_lsn_ + 1;
  header.previous_chain = record_chain_;
  header.salt = random_salt();
  header.writer = writer_name();
  Result<void> begun = spare->open->write_at(0, encode_segment_header(header));
  if (begun) begun = spare->open->sync();
  if (!begun) {
    (void)!disk_.remove(spare->file).ok();  // else a full disk would get fuller with each attempt
    return fail(std::move(begun).error());
  }
  const std::string name = start_.name + "-" + std::to_string(header.first_lsn) + ".wal";
  if (Result<void> renamed = disk_.rename(spare->file, name); !renamed) return fail(std::move(renamed).error());
  if (Result<void> synced = TAP_SEEDED(no_directory_sync) ? Result<void>() : disk_.sync_directory(); !synced) {
    return fail(std::move(synced).error());
  }
  bytes_written_ += kSegmentHeaderBytes;
  syncs_ += 2;
  file_ = std::move(spare->open);
  header_ = header;
  seed_ = segment_seed(header);
  chain_ = chain_start(header);
  offset_ = kSegmentDataOffset;
  introduced_.assign(start_.services.size(), false);
  segment_ended_ = false;
  return {};
}

Bytes JournalWriter::introductions_for(const Batch& batch) const {
  Bytes introductions;
  for (const std::uint16_t number : batch.services) {
    if (introduced_[number]) continue;
    append_record(introductions, RecordType::introduction, number, encode_introduction(start_.services[number]));
  }
  return introductions;
}

std::size_t JournalWriter::room() const {
  const std::size_t here = segment_ended_ ? 0
                                          : static_cast<std::size_t>(header_.segment_bytes) -
                                                std::min<std::size_t>(offset_, header_.segment_bytes);
  const std::size_t ready = supply_.ready_bytes();
  const std::size_t there = ready > kSegmentDataOffset ? ready - kSegmentDataOffset : 0;
  const std::size_t most = std::max(here, there);
  return most > kBatchHeaderBytes ? most - kBatchHeaderBytes : 0;
}

Result<void> JournalWriter::write(const Batch& batch) {
  TAP_ASSERT(!broken_ && !batch.empty() && batch.first_lsn == last_lsn_ + 1);
  Bytes introductions = introductions_for(batch);
  const auto padded = [&] {
    return padded_batch_bytes(introductions.size() + batch.records.size(), header_.block_bytes);
  };
  if (segment_ended_ || offset_ + padded() > header_.segment_bytes) {
    // All services are introduced again in a new segment: room for that is reckoned in.
    std::size_t introduction_bytes = 0;
    for (const std::uint16_t number : batch.services) {
      introduction_bytes += kRecordHeaderBytes + encode_introduction(start_.services[number]).size();
    }
    const std::size_t needed = padded_batch_bytes(introduction_bytes + batch.records.size(), kSegmentDataOffset);
    if (Result<void> begun = begin_segment(needed); !begun) return begun;
    introductions = introductions_for(batch);
  }
  if (Result<void> written = put(0, batch, introductions); !written) return written;
  for (const std::uint16_t number : batch.services) introduced_[number] = true;
  last_lsn_ = batch.last_lsn();
  record_chain_ = chain_;
  return {};
}

Result<void> JournalWriter::write_barrier() {
  TAP_ASSERT(!broken_);
  if (segment_ended_ || offset_ + padded_batch_bytes(0, header_.block_bytes) > header_.segment_bytes) {
    return begin_segment(0);  // a segment that follows is evidence too
  }
  Batch nothing;
  nothing.first_lsn = last_lsn_ + 1;
  return put(kBarrier, nothing, {});
}

Result<void> JournalWriter::seal() {
  TAP_ASSERT(!broken_);
  if (offset_ + padded_batch_bytes(0, header_.block_bytes) > header_.segment_bytes) {
    if (Result<void> begun = begin_segment(0); !begun) return begun;
  }
  Batch nothing;
  nothing.first_lsn = last_lsn_ + 1;
  return put(kSeal, nothing, {});
}

Result<void> JournalWriter::put(std::uint32_t flags, const Batch& batch, ByteView introductions) {
  BatchHeader header;
  header.flags = flags;
  header.first_lsn = batch.first_lsn;
  header.lsn_count = batch.lsn_count;
  header.durable_lsn = last_lsn_;
  header.record_bytes = static_cast<std::uint32_t>(introductions.size() + batch.records.size());
  std::uint32_t chain = chain_;
  buffer_.clear();
  if (introductions.empty()) {
    append_batch(buffer_, header, batch.records, seed_, header_.block_bytes, chain);
  } else {
    append_batch(buffer_, header, Bytes(introductions) + batch.records, seed_, header_.block_bytes, chain);
  }
  if (Result<void> written = file_->write_at(offset_, buffer_); !written) return fail(std::move(written).error());
  if (Result<void> synced = TAP_SEEDED(no_data_sync) ? Result<void>() : file_->sync(); !synced) {
    broken_ = true;  // whatever the reason was: what is on the disk is not known
    return std::move(synced).error();
  }
  bytes_written_ += buffer_.size();
  ++syncs_;
  chain_ = chain;
  offset_ += buffer_.size();
  return {};
}

Result<void> JournalWriter::fail(Error error) {
  broken_ = !is_disk_full(error);
  return error;
}

}  // namespace tap::state
