// A store on a disk that loses power, or a process that is killed, at every call that changes something: whatever may
// be left recovers to everything that was acknowledged, and to nothing that was not asked for.
//
// $TAP_LONG: more outcomes of each crash, more crashes inside of recoveries. The seeds are fixed: a failure repeats.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tests/state/model_life.hpp"

using namespace tap;
using namespace tap::tests;

namespace {

bool long_run() { return std::getenv("TAP_LONG") != nullptr; }

constexpr Change kCount{Change::Kind::counter, 4};
constexpr Change kWhole{Change::Kind::counter_whole, 4};
constexpr Change kPhoto{Change::Kind::album, 5000};
constexpr Change kPoster{Change::Kind::album, 2 * kModelSegmentBytes};  // larger than a segment

// --- a store's whole life ---------------------------------------------------------------------------------------

/// The first process: everything that a journal does, ended cleanly.
Result<void> first_process(Life& life) {
  if (Result<void> started = life.start(); !started || life.violation()) return started;
  life.prepare();
  const std::vector<Changes> batches{{kCount},         {kCount, kCount, kCount}, {kPhoto}, {kWhole},
                                     {kPhoto, kCount}, {kCount, kWhole},         {kPhoto}, {kPhoto}};
  for (const Changes& changes : batches) {
    if (Result<void> committed = life.commit(changes); !committed) return committed;
    life.prepare();
  }
  if (Result<void> written = life.barrier(); !written) return written;
  if (Result<void> compacted = life.compact({kCount, kPhoto}); !compacted) return compacted;
  for (int round = 0; round < 7; ++round) {
    if (Result<void> committed = life.commit({kPhoto, kCount}); !committed) return committed;
  }
  if (Result<void> compacted = life.compact({kCount}); !compacted) return compacted;
  // The second compaction has recycled a segment: this begins one in it.
  const Changes photos(5, kPhoto);
  for (const Changes& changes : {photos, photos, {kPoster}, {kWhole}, {kCount, kPhoto}}) {
    if (Result<void> committed = life.commit(changes); !committed) return committed;
  }
  return life.stop();
}

/// The second begins in a store that was left cleanly, and ends without a word.
Result<void> second_process(Life& life) {
  if (Result<void> started = life.start(); !started || life.violation()) return started;
  for (const Changes& changes : {Changes{kCount}, Changes{kPhoto, kWhole}, Changes{kCount, kPhoto}}) {
    if (Result<void> committed = life.commit(changes); !committed) return committed;
  }
  return {};
}

/// The third finds what the second has left.
Result<void> third_process(Life& life) {
  if (Result<void> started = life.start(); !started || life.violation()) return started;
  life.prepare();
  if (Result<void> committed = life.commit({kCount}); !committed) return committed;
  if (Result<void> written = life.barrier(); !written) return written;
  return life.stop();
}

using Process = Result<void> (*)(Life&);
constexpr Process kProcesses[] = {first_process, second_process, third_process};

// --- crashes ----------------------------------------------------------------------------------------------------

/// A moment at which everything may end.
struct Moment {
  SimulatedDisk disk;
  Ledger ledger;
  std::string when;
};

std::vector<Moment> moments_of_a_whole_life(std::size_t block_bytes) {
  std::vector<Moment> moments;
  SimulatedDisk disk(block_bytes);
  Ledger ledger;
  int number = 0;
  for (const Process process : kProcesses) {
    ++number;
    disk.watch([&] {
      moments.push_back({disk.after_kill(), ledger,
                         "process " + std::to_string(number) + " before change " + std::to_string(disk.changes() + 1)});
    });
    Life life(disk, ledger);
    const Result<void> ended = process(life);
    REQUIRE_MESSAGE(ended.ok(), (ended.ok() ? "" : ended.error().message));
    REQUIRE_MESSAGE(!life.violation(), life.violation().value_or(""));
  }
  moments.push_back({disk.after_kill(), ledger, "at the end"});
  return moments;
}

/// How far to look: outcomes of the crash itself, those of them whose recoveries are crashed too, and so on.
struct Reach {
  std::size_t outcomes;
  std::size_t nested;           // of the outcomes
  std::size_t nested_outcomes;  // of a crash inside of a recovery
  std::size_t twice_nested;
  std::size_t twice_nested_outcomes;
};

class CrashSearch {
 public:
  explicit CrashSearch(Reach reach) : reach_(reach) {}

  void search(const Moment& moment) {
    crash(moment, reach_.outcomes, reach_.nested, 0);
    ++moments_;
  }
  [[nodiscard]] std::uint64_t states() const { return states_; }
  [[nodiscard]] std::uint64_t moments() const { return moments_; }
  [[nodiscard]] bool found() const { return found_; }

 private:
  /// Everything that may be left at this moment, recovered; some of it with crashes during the recovery.
  void crash(const Moment& moment, std::size_t most, std::size_t nested, int depth) {
    try_state(moment.disk.after_kill(), moment, "killed");
    if (nested > 0) crash_recovery(moment.disk.after_kill(), moment, "killed", depth);
    std::vector<std::vector<bool>> all = outcomes(moment.disk.unsynced(), most, random_);
    std::shuffle(all.begin(), all.end(), random_);
    for (std::size_t i = 0; i < all.size() && !found_; ++i) {
      const SimulatedDisk left = moment.disk.after_power_cut(all[i]);
      const std::string how = "power cut that kept " + text(all[i]);
      try_state(left, moment, how);
      if (i + 1 < nested) crash_recovery(left, moment, how, depth);
    }
  }

  void crash_recovery(const SimulatedDisk& left, const Moment& before, const std::string& how, int depth) {
    SimulatedDisk disk = left;
    Ledger ledger = before.ledger;
    std::vector<Moment> inside;
    disk.watch([&] {
      inside.push_back({disk.after_kill(), ledger,
                        before.when + ", " + how + ", recovery before change " + std::to_string(disk.changes() + 1)});
    });
    Life life(disk, ledger);
    if (!life.start().ok() || life.violation()) return;  // try_state() has told
    inside.push_back({disk.after_kill(), ledger, before.when + ", " + how + ", after the recovery"});
    const std::size_t most = depth == 0 ? reach_.nested_outcomes : reach_.twice_nested_outcomes;
    for (const Moment& moment : inside) {
      if (found_) return;
      crash(moment, most, depth == 0 ? reach_.twice_nested : 0, depth + 1);
    }
  }

  /// Recovers, goes on, and loses power again: nothing of it may get lost.
  void try_state(const SimulatedDisk& left, const Moment& moment, const std::string& how) {
    if (found_) return;
    ++states_;
    SimulatedDisk disk = left;
    Ledger ledger = moment.ledger;
    std::optional<std::string> wrong = recover(disk, ledger);
    if (!wrong) {
      const SimulatedDisk after = disk.after_power_cut(std::vector<bool>(disk.unsynced()));
      SimulatedDisk again = after;
      Life second(again, ledger);
      const Result<void> looked = second.look();
      wrong = looked ? second.violation() : std::optional("then refused: " + looked.error().message);
    }
    if (!wrong) return;
    found_ = true;
    FAIL_CHECK("violation: " << moment.when << ", " << how << ": " << *wrong);
  }

  static std::optional<std::string> recover(SimulatedDisk& disk, Ledger& ledger) {
    Life life(disk, ledger);
    if (Result<void> started = life.start(); !started) return "refused: " + started.error().message;
    if (life.violation()) return life.violation();
    for (const Changes& changes : {Changes{kCount}, Changes{kPhoto}}) {
      if (Result<void> committed = life.commit(changes); !committed) return committed.error().message;
    }
    return std::nullopt;
  }

  static std::string text(const std::vector<bool>& kept) {
    std::string bits;
    for (const bool bit : kept) bits.push_back(bit ? '1' : '0');
    return "[" + bits + "]";
  }

  Reach reach_;
  std::mt19937_64 random_{20'240'229};
  std::uint64_t states_ = 0;
  std::uint64_t moments_ = 0;
  bool found_ = false;
};

// --- calls that fail --------------------------------------------------------------------------------------------

std::optional<std::string> judge_power_cuts(const SimulatedDisk& disk, const Ledger& ledger) {
  for (const bool keep : {false, true}) {
    SimulatedDisk left = disk.after_power_cut(std::vector<bool>(disk.unsynced(), keep));
    Ledger judge = ledger;
    Life life(left, judge);
    if (Result<void> started = life.start(); !started) return "after a power cut: refused: " + started.error().message;
    if (life.violation()) return "after a power cut: " + *life.violation();
  }
  return std::nullopt;
}

/// A whole life in which a call fails, every process being followed by the next: on the same machine, so that what
/// memory holds of the files is still there. What has gone wrong; nullopt: nothing. `failed`:
/// whether the call was reached.
std::optional<std::string> live_with(SimulatedDisk& disk, Ledger& ledger, bool& failed) {
  for (const Process process : kProcesses) {
    Life life(disk, ledger);
    const Result<void> ended = process(life);
    const bool hit = disk.take_failed();
    failed = failed || hit;
    if (life.violation()) return life.violation();
    if (!ended && !hit) return "refused, although nothing failed: " + ended.error().message;
    if (!ended) disk.heal();
    if (std::optional<std::string> wrong = judge_power_cuts(disk, ledger)) return wrong;
  }
  return std::nullopt;
}

void fail_every_call(int code, SimulatedDisk::Trouble trouble, std::uint64_t stride, std::uint64_t& runs) {
  bool failed = true;
  for (std::uint64_t call = 1; failed; call += stride) {
    SimulatedDisk disk;
    Ledger ledger;
    failed = false;
    disk.fail_at(call, code, trouble);
    const std::optional<std::string> wrong = live_with(disk, ledger, failed);
    if (wrong) FAIL_CHECK("errno " << code << " at call " << call << ": " << *wrong);
    if (wrong) return;
    ++runs;
    if (code != EIO) failed = call < disk.calls();  // calls that only look do not fail of this
  }
}

}  // namespace

TEST_CASE("crash: whatever a crash leaves recovers to what was acknowledged, also when the recovery crashes twice") {
  const Reach reach = long_run() ? Reach{40, 1, 3, 1, 1} : Reach{24, 1, 1, 0, 0};
  CrashSearch search(reach);
  for (const std::size_t block_bytes : {std::size_t{512}, std::size_t{4096}}) {
    for (const Moment& moment : moments_of_a_whole_life(block_bytes)) {
      if (!search.found()) search.search(moment);
    }
  }
  std::printf("crash_test: %llu states after crashes at %llu moments\n",
              static_cast<unsigned long long>(search.states()), static_cast<unsigned long long>(search.moments()));
  if (!search.found()) CHECK(search.states() >= (long_run() ? 100'000 : 10'000));
}

TEST_CASE("crash: whatever call fails with EIO, ENOSPC or EROFS, nothing acknowledged is lost") {
  std::uint64_t runs = 0;
  const std::uint64_t stride = long_run() ? 1 : 3;
  for (const int code : {EIO, ENOSPC, EROFS}) {
    for (const auto trouble : {SimulatedDisk::Trouble::once, SimulatedDisk::Trouble::from_then}) {
      CAPTURE(code);
      fail_every_call(code, trouble, stride, runs);
    }
  }
  fail_every_call(EIO, SimulatedDisk::Trouble::gone, stride, runs);
  std::printf("crash_test: %llu lives with a call that failed\n", static_cast<unsigned long long>(runs));
  CHECK(runs > 100);
}
