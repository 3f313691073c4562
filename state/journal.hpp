// Journal: what changed since the newest archive, in segments that lie beside it.
//
// Format: state/FORMAT.md, section 5.
// Tests: tests/state/journal_test.cpp
//
// read_journal() is every reader there is: recovery, compaction, `tap show` and `tap verify`. JournalWriter is the only
// writer. Between the two stands one rule: a batch is written after the one before it is durable, so whatever stands
// behind a batch proves that it was.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "state/disk.hpp"
#include "state/journal_format.hpp"

namespace tap::state {

// --- reading ----------------------------------------------------------------------------------------------------

/// Hears what was recorded, in its order. An error ends the reading and is its result.
class ReplaySink {
 public:
  virtual ~ReplaySink() = default;
  [[nodiscard]] virtual Result<void> replay(const Introduction& of, RecordType type, ByteView payload) = 0;
  /// A whole batch was told; its last LSN.
  virtual void batch_replayed(std::uint64_t lsn) { (void)lsn; }
};

struct SegmentFile {
  std::string file;
  std::uint64_t first_lsn = 0;
};

/// What a write that was under way when everything ended has left: nobody has been told what is in it.
struct Tear {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;  ///< up to the last byte that is not zero
};

/// How far a journal goes, and what was found on the way.
struct JournalEnd {
  std::uint64_t last_lsn = 0;  ///< everything up to here is in the archive or in the journal
  std::uint32_t chain = 0;     ///< of the last batch that has records
  std::uint64_t epoch = 0;     ///< the highest of any segment; 0: there is none
  bool sealed = true;          ///< the last opener ended it, or there is none
  std::uint64_t batches = 0;   ///< that were replayed
  std::uint64_t records = 0;
  std::vector<SegmentFile> segments;   ///< of this lineage, in their order; all of them, also those that were not read
  std::vector<std::string> strangers;  ///< of other lineages
  std::optional<Tear> tear;

  /// Whether a fresh archive has to take in what the journal has before it goes on: the last opener did not seal it.
  [[nodiscard]] bool unclean() const;
};

/// The number in NAME-<number><end>, if `file` has that shape.
[[nodiscard]] std::optional<std::uint64_t> number_in_name(std::string_view file, std::string_view end);

/// The first LSN in NAME-<first LSN>.wal.
[[nodiscard]] std::optional<std::uint64_t> segment_first_lsn(std::string_view file);

/// The segment files of a store, by their first LSN. Only names are looked at.
[[nodiscard]] Result<std::vector<SegmentFile>> list_segments(Disk& disk);

/// Reads what follows `base_lsn` in the journal of this lineage, up to `until_lsn` (which then has to be where a
/// segment ends), and tells it to `sink` (may be nullptr). Changes nothing.
/// Errors: damaged, when bytes are wrong that something behind them proves to have been durable, when a segment is
/// missing, shorter than it was made, or of another chain; config, for a newer format; those of the sink.
[[nodiscard]] Result<JournalEnd> read_journal(Disk& disk, const Lineage& lineage, std::uint64_t base_lsn,
                                              ReplaySink* sink,
                                              std::uint64_t until_lsn = std::numeric_limits<std::uint64_t>::max());

/// Copies the tear to quarantine/, and ends its segment where it begins. May be repeated after a crash at any point.
[[nodiscard]] Result<void> cut_tear(Disk& disk, const JournalEnd& end);

// --- writing ----------------------------------------------------------------------------------------------------

/// Changes that are made durable together.
struct Batch {
  Bytes records;
  std::uint64_t first_lsn = 1;
  std::uint64_t lsn_count = 0;
  std::vector<std::uint16_t> services;  ///< whose records are in it, each once

  [[nodiscard]] bool empty() const { return lsn_count == 0; }
  [[nodiscard]] std::uint64_t last_lsn() const { return first_lsn + lsn_count - 1; }
};

/// Segments that are ready before they are needed: written full of zeros and durable, so that a full disk is met when
/// one is made and not in a commit, and so that a commit changes nothing of the file but its data.
/// Thread: any.
class SegmentSupply {
 public:
  static constexpr std::size_t kSegmentBytes = std::size_t{4} << 20U;

  /// `name` is the application's; `segment_bytes`, a multiple of 4096, is how large a segment is that holds no batch
  /// larger than itself. Lifetime: the disk outlives it.
  SegmentSupply(Disk& disk, std::string name, std::size_t segment_bytes = kSegmentBytes);

  struct Spare {
    std::string file;
    std::unique_ptr<DiskFile> open;
    std::size_t bytes = 0;
  };

  /// Makes one of at least so many bytes, unless one is ready. Errors: is_disk_full() tells that there is no room.
  [[nodiscard]] Result<void> prepare(std::size_t bytes = 0);
  /// Takes over a spare that an earlier process has left, and removes what else it left half made. Never fails: without
  /// one, one is made.
  void adopt_leftover();
  /// A segment file that nobody needs any more becomes the spare, or goes.
  [[nodiscard]] Result<void> recycle(const std::string& file);
  /// The spare, if one of that size is ready.
  [[nodiscard]] std::optional<Spare> take(std::size_t bytes);
  [[nodiscard]] std::size_t segment_bytes() const { return segment_bytes_; }
  /// The size of the spare that is ready; 0: none.
  [[nodiscard]] std::size_t ready_bytes() const { return ready_bytes_.load(std::memory_order_acquire); }

 private:
  [[nodiscard]] std::string next_file();
  [[nodiscard]] Result<void> fill(Spare spare);
  void offer(Spare spare);
  [[nodiscard]] bool adopt(const std::string& file);

  Disk& disk_;
  std::string name_;
  std::size_t segment_bytes_;
  std::mutex preparing_;  // one segment at a time
  std::mutex lock_;       // guards spare_ and made_
  std::optional<Spare> spare_;
  std::uint64_t made_ = 0;
  std::atomic<std::size_t> ready_bytes_{0};
};

/// Appends batches and makes each durable.
///
/// Lifetime:   disk and supply outlive it.
/// Thread:     one at a time, any; it knows nothing of a loop.
/// Invariants: everything before offset_ is whole batches on the disk; after an error of sync nothing more is written.
class JournalWriter {
 public:
  struct Start {
    std::string name;  ///< the application's
    Lineage lineage;
    std::uint64_t epoch = 1;
    std::uint64_t last_lsn = 0;
    std::uint32_t chain = 0;
    std::vector<Introduction> services;  ///< by number
  };

  /// Makes the first segment of this epoch; it is durable on return.
  [[nodiscard]] static Result<std::unique_ptr<JournalWriter>> open(Disk& disk, SegmentSupply& supply, Start start);

  /// Durable on return. After is_disk_full() the same batch may be tried again; after any other error the writer is
  /// broken: what is on the disk is not known, and nothing may be written any more.
  /// REQUIRES: batch.first_lsn follows the last one; not broken().
  [[nodiscard]] Result<void> write(const Batch& batch);
  /// Evidence that everything before was durable.
  [[nodiscard]] Result<void> write_barrier();
  /// The clean end. Nothing may be written after it.
  [[nodiscard]] Result<void> seal();
  /// Ends the segment, so that everything up to here can be folded into an archive: the next batch begins another.
  void end_segment() { segment_ended_ = true; }

  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] std::uint64_t last_lsn() const { return last_lsn_; }
  [[nodiscard]] std::uint32_t chain() const { return record_chain_; }
  /// Bytes of records that a batch may have and still fit what is ready now.
  [[nodiscard]] std::size_t room() const;
  /// Written to the disk so far, and how often it was synced: for the report and the README's numbers.
  [[nodiscard]] std::uint64_t bytes_written() const { return bytes_written_; }
  [[nodiscard]] std::uint64_t syncs() const { return syncs_; }

 private:
  JournalWriter(Disk& disk, SegmentSupply& supply, Start start)
      : disk_(disk), supply_(supply), start_(std::move(start)) {}
  [[nodiscard]] Result<void> begin_segment(std::size_t bytes_needed);
  [[nodiscard]] Result<void> put(std::uint32_t flags, const Batch& batch, ByteView introductions);
  [[nodiscard]] Bytes introductions_for(const Batch& batch) const;
  [[nodiscard]] Result<void> fail(Error error);

  Disk& disk_;
  SegmentSupply& supply_;
  Start start_;
  std::unique_ptr<DiskFile> file_;
  SegmentHeader header_;
  std::uint32_t seed_ = 0;
  std::uint32_t chain_ = 0;         // of the segment, every batch
  std::uint32_t record_chain_ = 0;  // of the journal, batches with records
  std::uint64_t last_lsn_ = 0;
  std::size_t offset_ = 0;
  std::vector<bool> introduced_;  // in this segment, by number
  Bytes buffer_;
  std::uint64_t bytes_written_ = 0;
  std::uint64_t syncs_ = 0;
  bool segment_ended_ = false;
  bool broken_ = false;
};

}  // namespace tap::state
