// Segments made ready before they are needed, and what becomes of those that an earlier process has left.
#include <doctest/doctest.h>

#include <cerrno>

#include "services/testing/simulated_disk.hpp"
#include "state/journal.hpp"

using tap::Bytes;
using tap::state::SegmentSupply;
using tap::testing::SimulatedDisk;

using Names = std::vector<std::string>;

namespace {

constexpr std::size_t kBytes = 8192;

struct Supplied {
  SimulatedDisk disk;
  std::unique_ptr<tap::state::Disk> face = disk.plug_in();
  SegmentSupply supply{*face, "J", kBytes};

  [[nodiscard]] Names names() const {
    Names all;
    for (const auto& [name, bytes] : disk.files()) all.push_back(name);
    return all;
  }
};

Bytes zeros(std::size_t count) { return Bytes(count, '\0'); }

}  // namespace

TEST_CASE("segment supply: a spare is made full of zeros, once, and can be taken once") {
  Supplied given;
  CHECK(given.supply.ready_bytes() == 0);
  REQUIRE(given.supply.prepare().ok());
  REQUIRE(given.supply.prepare().ok());
  CHECK(given.supply.ready_bytes() == kBytes);
  CHECK(given.names() == Names{"J-spare1.wal.tmp"});
  CHECK((given.disk.files().at("J-spare1.wal.tmp") == zeros(kBytes)));
  auto spare = given.supply.take(kBytes);
  REQUIRE(spare.has_value());
  CHECK(spare->file == "J-spare1.wal.tmp");
  CHECK(spare->bytes == kBytes);
  CHECK(given.supply.ready_bytes() == 0);
  CHECK_FALSE(given.supply.take(0).has_value());
}

TEST_CASE("segment supply: a spare that is too small stays until a larger one is ready") {
  Supplied given;
  REQUIRE(given.supply.prepare().ok());
  CHECK_FALSE(given.supply.take(kBytes + 1).has_value());
  CHECK(given.supply.ready_bytes() == kBytes);
  REQUIRE(given.supply.prepare(kBytes + 1).ok());
  CHECK(given.supply.ready_bytes() == kBytes + 4096);
  CHECK(given.names() == Names{"J-spare2.wal.tmp"});
}

TEST_CASE("segment supply: without room nothing is left behind, and it may be tried again") {
  Supplied given;
  // Each call of it in turn: create, write, sync, rename.
  for (int nth = 1; nth <= 4; ++nth) {
    given.disk.fail_at(given.disk.calls() + static_cast<std::uint64_t>(nth), ENOSPC, SimulatedDisk::Trouble::once);
    const tap::Result<void> prepared = given.supply.prepare();
    REQUIRE_FALSE(prepared.ok());
    CHECK(tap::state::is_disk_full(prepared.error()));
    CHECK(given.supply.ready_bytes() == 0);
    CHECK(given.names().empty());
  }
  given.disk.heal();
  CHECK(given.supply.prepare().ok());
}

TEST_CASE("segment supply: a spare that cannot be had leaves the smaller one ready") {
  Supplied given;
  REQUIRE(given.supply.prepare().ok());
  given.disk.fail_at(given.disk.calls() + 2, ENOSPC, SimulatedDisk::Trouble::once);
  CHECK_FALSE(given.supply.prepare(3 * kBytes).ok());
  CHECK(given.supply.ready_bytes() == kBytes);
  CHECK(given.names() == Names{"J-spare1.wal.tmp"});
}

TEST_CASE("segment supply: a spare that an earlier process has left is taken over, and numbers go on behind it") {
  Supplied given;
  given.disk.put("J-spare7.wal.tmp", zeros(kBytes));
  given.disk.put("J-spare8.wal.tmp", zeros(kBytes));
  given.disk.put("Other-spare1.wal.tmp", zeros(kBytes));
  given.supply.adopt_leftover();
  CHECK(given.supply.ready_bytes() == kBytes);
  CHECK(given.names() == Names{"J-spare7.wal.tmp", "Other-spare1.wal.tmp"});
  REQUIRE(given.supply.take(kBytes).has_value());
  REQUIRE(given.supply.prepare().ok());
  CHECK(given.names() == Names{"J-spare7.wal.tmp", "J-spare9.wal.tmp", "Other-spare1.wal.tmp"});
}

TEST_CASE("segment supply: a spare that is not whole, not of the size, not empty or not filled is removed") {
  Bytes used = zeros(kBytes);
  used[kBytes - 1] = 1;
  for (const auto& [name, bytes] :
       std::vector<std::pair<std::string, Bytes>>{{"J-spare1.wal.tmp", zeros(kBytes - 1)},
                                                  {"J-spare1.wal.tmp", zeros(kBytes + 4096)},
                                                  {"J-spare1.wal.tmp", ""},
                                                  {"J-spare1.wal.tmp", used},
                                                  {"J-spare1.filling.wal.tmp", zeros(kBytes)}}) {
    Supplied given;
    given.disk.put(name, bytes);
    given.supply.adopt_leftover();
    CHECK(given.supply.ready_bytes() == 0);
    CHECK(given.names().empty());
  }
}

TEST_CASE("segment supply: a spare that could be neither filled nor removed is not taken over later") {
  Supplied given;
  given.disk.fail_at(given.disk.calls() + 3, EIO, SimulatedDisk::Trouble::from_then);
  REQUIRE_FALSE(given.supply.prepare().ok());
  given.disk.heal();
  // Memory shows a file as long and as empty as a spare; the disk has nothing of it.
  REQUIRE(given.names().size() == 1);
  REQUIRE((given.disk.files().begin()->second == zeros(kBytes)));
  SegmentSupply next(*given.face, "J", kBytes);
  next.adopt_leftover();
  CHECK(next.ready_bytes() == 0);
  CHECK(given.names().empty());
}

TEST_CASE("segment supply: a segment that nobody needs becomes the spare, empty again") {
  Supplied given;
  given.disk.put("J-1.wal", Bytes(kBytes, 'x'));
  REQUIRE(given.supply.recycle("J-1.wal").ok());
  CHECK(given.supply.ready_bytes() == kBytes);
  CHECK(given.names() == Names{"J-spare1.wal.tmp"});
  CHECK((given.disk.files().at("J-spare1.wal.tmp") == zeros(kBytes)));
  given.disk.put("J-2.wal", Bytes(kBytes, 'x'));
  REQUIRE(given.supply.recycle("J-2.wal").ok());  // one is enough
  CHECK(given.names() == Names{"J-spare1.wal.tmp"});
}

TEST_CASE("segment supply: a segment of another size is removed, not recycled") {
  Supplied given;
  given.disk.put("J-1.wal", Bytes(3 * kBytes, 'x'));
  REQUIRE(given.supply.recycle("J-1.wal").ok());
  CHECK(given.supply.ready_bytes() == 0);
  CHECK(given.names().empty());
}

TEST_CASE("segment supply: a power cut never brings a recycled segment back with something new in it") {
  Supplied given;
  given.disk.put("J-1.wal", Bytes(kBytes, 'x'));
  REQUIRE(given.supply.recycle("J-1.wal").ok());
  auto spare = given.supply.take(kBytes);
  REQUIRE(spare.has_value());
  REQUIRE(spare->open->write_at(0, "the header of another segment").ok());
  REQUIRE(spare->open->sync().ok());
  std::mt19937_64 random(1);
  for (const auto& kept : tap::testing::outcomes(given.disk.unsynced(), 64, random)) {
    CHECK(given.disk.after_power_cut(kept).files().count("J-1.wal") == 0);
  }
}

TEST_CASE("segment supply: a segment that cannot be recycled goes, or stays as it is") {
  for (int nth = 1; nth <= 7; ++nth) {
    Supplied given;
    given.disk.put("J-1.wal", Bytes(kBytes, 'x'));
    given.disk.fail_at(given.disk.calls() + static_cast<std::uint64_t>(nth), EIO, SimulatedDisk::Trouble::once);
    const tap::Result<void> recycled = given.supply.recycle("J-1.wal");
    if (recycled) {
      CHECK(nth == 7);  // open, size, rename, sync of the directory, write, sync, rename
      continue;
    }
    CHECK(given.supply.ready_bytes() == 0);
    const auto files = given.disk.files();
    CHECK((files.empty() || files.at("J-1.wal") == Bytes(kBytes, 'x')));
  }
}
