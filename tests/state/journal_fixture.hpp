// A journal on a simulated disk, and who listens to it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/testing/simulated_disk.hpp"
#include "state/journal.hpp"

namespace tap::tests {

using testing::SimulatedDisk;

/// Remembers what it is told: "service/type/payload".
class Listener final : public state::ReplaySink {
 public:
  Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override;

  std::vector<std::string> heard;
};

/// What one reading gives.
struct Reading {
  Result<state::JournalEnd> end;
  std::vector<std::string> heard;
};
[[nodiscard]] Reading read_from(SimulatedDisk& disk, const state::Lineage& lineage, std::uint64_t base_lsn = 0);

[[nodiscard]] state::Lineage test_lineage();

/// One after another, openers of the journal "J" of services "a" (0) and "b" (1).
struct JournalFixture {
  explicit JournalFixture(std::size_t segment_bytes = 8192, std::size_t block_bytes = 512);

  /// Begins as the next opener behind what is there.
  void open();
  /// A batch of one change of service `number` for each payload.
  void write(const std::vector<std::string>& payloads, std::uint16_t number = 0);
  [[nodiscard]] state::Batch batch(const std::vector<std::string>& payloads, std::uint16_t number = 0) const;
  [[nodiscard]] Reading read(std::uint64_t base_lsn = 0) { return read_from(disk, test_lineage(), base_lsn); }
  /// The names of the segments.
  [[nodiscard]] std::vector<std::string> segments();
  /// Changes a file behind the journal's back.
  template <class Code>
  void alter(const std::string& file, Code&& code) {
    Bytes bytes = disk.files().at(file);
    code(bytes);
    disk.put(file, std::move(bytes));
  }

  SimulatedDisk disk;
  std::unique_ptr<state::Disk> face;
  std::size_t segment_bytes;
  std::unique_ptr<state::SegmentSupply> supply;
  std::unique_ptr<state::JournalWriter> writer;
  std::uint64_t epoch = 0;
  std::vector<std::string> written;  ///< as a Listener hears it
};

/// Every checksum of a segment that can be found is made right: the header's, and of each batch that has its magic
/// number, one behind the other as their lengths say.
void repair_segment(Bytes& bytes);

}  // namespace tap::tests
