// The real disk, as far as the simulated one cannot stand for it.
#include "state/disk.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "state/journal.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::state;
using tap::tests::TemporaryDirectory;

namespace {

std::unique_ptr<Disk> disk_of(const TemporaryDirectory& directory) {
  return open_disk(Fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

void write_file(Disk& disk, const std::string& name, const Bytes& content) {
  Result<std::unique_ptr<DiskFile>> file = disk.create(name);
  REQUIRE(file.ok());
  REQUIRE((*file)->write_at(0, content).ok());
  REQUIRE((*file)->sync().ok());
}

/// Keeps the payloads it is told.
class Keeper final : public ReplaySink {
 public:
  Result<void> replay(const Introduction& /*of*/, RecordType /*type*/, ByteView payload) override {
    payloads.emplace_back(payload);
    return {};
  }
  std::vector<Bytes> payloads;
};

}  // namespace

TEST_CASE("disk: a file is read without the zeros at its end, up to a whole block, and its length is told") {
  const TemporaryDirectory directory;
  const std::unique_ptr<Disk> disk = disk_of(directory);
  const auto trimmed = [&](std::size_t data, std::size_t zeros) {
    write_file(*disk, "f", Bytes(data, 'x') + Bytes(zeros, '\0'));
    Result<Disk::Trimmed> read = disk->read_trimmed("f");
    REQUIRE(read.ok());
    CHECK(read->file_bytes == data + zeros);
    CHECK(read->bytes.substr(0, data) == Bytes(data, 'x'));
    CHECK(read->bytes.find_first_not_of('\0', data) == Bytes::npos);
    return read->bytes.size();
  };
  CHECK(trimmed(1, 4 << 20) == 4096);
  CHECK(trimmed(4096, 4 << 20) == 4096);
  CHECK(trimmed(4097, 4 << 20) == 8192);
  CHECK(trimmed(100'000, 7) == 100'007);
  CHECK(trimmed(65'536, 65'536) == 65'536);
  CHECK(trimmed(0, 100) == 0);
  CHECK_FALSE(disk->read_trimmed("missing").ok());
}

TEST_CASE("disk: a record that ends with zeros is read whole, although the segment goes on with zeros") {
  const TemporaryDirectory directory;
  const std::unique_ptr<Disk> disk = disk_of(directory);
  SegmentSupply supply(*disk, "J");
  const Lineage lineage = Lineage::make();
  Result<std::unique_ptr<JournalWriter>> writer =
      JournalWriter::open(*disk, supply, {"J", lineage, 1, 0, 0, {{1, "a", "kind"}}});
  REQUIRE(writer.ok());
  const Bytes payload = "x" + Bytes(30'000, '\0');
  Batch batch;
  append_record(batch.records, RecordType::change, 0, payload);
  batch.lsn_count = 1;
  batch.services = {0};
  REQUIRE((*writer)->write(batch).ok());
  Keeper keeper;
  Result<JournalEnd> end = read_journal(*disk, lineage, 0, &keeper);
  REQUIRE(end.ok());
  CHECK_FALSE(end->tear);
  CHECK((keeper.payloads == std::vector<Bytes>{payload}));
}
