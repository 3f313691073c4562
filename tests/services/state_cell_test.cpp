#include "services/state_cell.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "services/net/refusal.hpp"

namespace {

using namespace tap;
using tap::services::StateCell;

struct Noted {
  int value = 0;
};

struct NotesState {
  using Change = Noted;

  std::vector<std::string> notes;
  int total = 0;
};

void apply(NotesState& state, const Noted& change) noexcept { state.total += change.value; }

/// A codec of the simplest kind: the total in decimal.
class NotesCodec final : public state::StateCodec<NotesState> {
 public:
  [[nodiscard]] std::uint32_t schema_version() const override { return 3; }
  [[nodiscard]] Result<Bytes> initial() const override { return Bytes("0"); }
  [[nodiscard]] Result<void> check(ByteView, std::uint32_t) const override { return {}; }
  void write_text(state::TextOutput&, ByteView, std::uint32_t) const override {}
  [[nodiscard]] Bytes read_text(state::TextInput&) const override { return {}; }
  [[nodiscard]] Result<Bytes> encode(const NotesState& state) const override { return std::to_string(state.total); }
  [[nodiscard]] Result<void> decode(ByteView payload, std::uint32_t version, NotesState& state) const override {
    state.total = -1;  // "on error the state is unspecified"
    if (version > 3) return Error{Fault::config, "too new"};
    if (payload == "damaged") return Error{Fault::damaged, "damaged"};
    state.total = std::stoi(std::string(payload));
    return {};
  }
  [[nodiscard]] Result<void> encode_change(const Noted& change, Bytes& out) const override {
    out += std::to_string(change.value);
    return {};
  }
  [[nodiscard]] Result<void> apply_change(NotesState& state, ByteView bytes, std::uint32_t) const override {
    if (bytes.empty()) return Error{Fault::damaged, "no number"};
    apply(state, Noted{std::stoi(std::string(bytes))});
    return {};
  }
};

/// Writes down what it is told; refuses when it is full.
class RecordingLog final : public services::ChangeLog {
 public:
  [[nodiscard]] bool wants_changes() const override { return wants; }
  void change(ByteView bytes) override {
    if (full) throw net::Refusal("full");
    told.push_back("change " + std::string(bytes));
  }
  void whole() override {
    if (full) throw net::Refusal("full");
    told.emplace_back("whole");
  }

  bool wants = true;
  bool full = false;
  std::vector<std::string> told;
};

const NotesCodec kCodec;

}  // namespace

TEST_CASE("state cell: update changes the state and counts") {
  StateCell<NotesState> cell(kCodec);
  CHECK(cell.changes() == 0);
  cell.update([](NotesState& state) {
    state.total = 5;
    state.notes.emplace_back("five");
  });
  CHECK(cell->total == 5);
  CHECK((*cell).notes == std::vector<std::string>{"five"});
  CHECK(cell.changes() == 1);
}

TEST_CASE("state cell: an update that throws leaves the state as it was, whatever it had done") {
  StateCell<NotesState> cell(kCodec);
  cell.update([](NotesState& state) { state.notes = {"a", "b"}; });
  const auto bad = [](NotesState& state) {
    state.notes.clear();
    state.total = 99;
    throw std::runtime_error("in the middle");
  };
  CHECK_THROWS_WITH_AS(cell.update(bad), "in the middle", std::runtime_error);
  CHECK(cell->notes == std::vector<std::string>{"a", "b"});
  CHECK(cell->total == 0);
  CHECK(cell.changes() == 1);
}

TEST_CASE("state cell: record applies the change and counts") {
  StateCell<NotesState> cell(kCodec);
  cell.record(Noted{3});
  cell.record(Noted{4});
  CHECK(cell->total == 7);
  CHECK(cell.changes() == 2);
}

TEST_CASE("state cell: save and restore go through the codec") {
  StateCell<NotesState> cell(kCodec);
  cell.record(Noted{12});
  const Result<Bytes> saved = cell.save();
  REQUIRE(saved.ok());
  CHECK(*saved == "12");
  CHECK(cell.schema_version() == 3);
  StateCell<NotesState> other(kCodec);
  CHECK(other.restore(*saved, 3).ok());
  CHECK(other->total == 12);
  CHECK(other.changes() == 0);
}

TEST_CASE("state cell: a restore that fails leaves the state as it was") {
  StateCell<NotesState> cell(kCodec);
  cell.record(Noted{12});
  const Result<void> damaged = cell.restore("damaged", 3);
  REQUIRE(!damaged.ok());
  CHECK(damaged.error().fault == Fault::damaged);
  CHECK(cell->total == 12);
  CHECK(!cell.restore("5", 4).ok());
  CHECK(cell->total == 12);
}

TEST_CASE("state cell: a change is told before it is applied, an update as a whole") {
  StateCell<NotesState> cell(kCodec);
  RecordingLog log;
  cell.attach(&log);
  cell.record(Noted{3});
  cell.update([](NotesState& state) { state.total += 10; });
  log.wants = false;  // the whole state is recorded anyway
  cell.record(Noted{4});
  cell.attach(nullptr);
  cell.record(Noted{5});
  CHECK(log.told == std::vector<std::string>{"change 3", "whole", "whole"});
  CHECK(cell->total == 22);
}

TEST_CASE("state cell: what there is no room for is refused and changes nothing") {
  StateCell<NotesState> cell(kCodec);
  RecordingLog log;
  cell.attach(&log);
  cell.record(Noted{3});
  log.full = true;
  CHECK_THROWS_AS(cell.record(Noted{4}), net::Refusal);
  CHECK_THROWS_AS(cell.update([](NotesState& state) { state.total = 99; }), net::Refusal);
  CHECK(cell->total == 3);
  CHECK(cell.changes() == 1);
  CHECK(log.told == std::vector<std::string>{"change 3"});
}

TEST_CASE("state cell: replay applies changes and takes whole states") {
  StateCell<NotesState> cell(kCodec);
  CHECK(cell.replay(state::RecordType::whole, "40", 3).ok());
  CHECK(cell.replay(state::RecordType::change, "2", 3).ok());
  CHECK(cell->total == 42);
  CHECK(cell.changes() == 0);
  CHECK_FALSE(cell.replay(state::RecordType::change, "", 3).ok());
  CHECK_FALSE(cell.replay(state::RecordType::whole, "damaged", 3).ok());
}
