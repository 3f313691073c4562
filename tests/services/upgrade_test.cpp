// A state with three versions: payloads and journal records of every version that ever was are read for ever.
#include <doctest/doctest.h>

#include <cstdlib>

#include "services/state_cell.hpp"
#include "tests/services/tickets.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::tests;
using services::StateCell;
using state::RecordType;

namespace {

using Counters = std::map<std::string, std::uint64_t>;

/// A golden file: what a released version wrote, in hexadecimal. Never made again.
Bytes golden(const std::string& name) {
  const char* source = std::getenv("TAP_SOURCE");
  std::string text = read_text(std::string(source == nullptr ? "." : source) + "/tests/services/golden/" + name);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  Bytes bytes;
  REQUIRE_MESSAGE(!text.empty(), name);
  REQUIRE(from_hex(text, bytes));
  return bytes;
}

template <class State>
Bytes encoded(const state::StateCodec<State>& codec, const State& state) {
  Result<Bytes> bytes = codec.encode(state);
  REQUIRE(bytes.ok());
  return *bytes;
}

template <class State, class Change>
Bytes encoded_change(const state::StateCodec<State>& codec, const Change& change) {
  Bytes bytes;
  REQUIRE(codec.encode_change(change, bytes).ok());
  return bytes;
}

}  // namespace

TEST_CASE("upgrade: a payload of every version is read, one step at a time") {
  Tickets state;
  REQUIRE(tickets_codec().decode(golden("tickets-1.hex"), 1, state).ok());
  CHECK(state.next == Counters{{"T", 41}});
  REQUIRE(tickets_codec().decode(golden("tickets-2.hex"), 2, state).ok());
  CHECK(state.next == Counters{{"gate", 5'000'000'000}});
  REQUIRE(tickets_codec().decode(golden("tickets-3.hex"), 3, state).ok());
  CHECK(state.next == Counters{{"a", 7}, {"b", 9}});
}

TEST_CASE("upgrade: what is written today is what the golden files hold") {
  CHECK(to_hex(encoded(tickets_v1_codec(), TicketsV1{41})) == to_hex(golden("tickets-1.hex")));
  CHECK(to_hex(encoded(tickets_v2_codec(), TicketsV2{5'000'000'000, "gate"})) == to_hex(golden("tickets-2.hex")));
  CHECK(to_hex(encoded(tickets_codec(), Tickets{{{"a", 7}, {"b", 9}}})) == to_hex(golden("tickets-3.hex")));
  CHECK(to_hex(encoded_change(tickets_v1_codec(), TicketsV1::Taken{3})) == to_hex(golden("tickets-1-taken.hex")));
  CHECK(to_hex(encoded_change(tickets_v2_codec(), TicketsV2::Change(TicketsV2::Renamed{"x"}))) ==
        to_hex(golden("tickets-2-renamed.hex")));
}

TEST_CASE("upgrade: changes are applied to a state of their own version before the next step") {
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(golden("tickets-1.hex"), 1).ok());
  REQUIRE(cell.replay(RecordType::change, golden("tickets-1-taken.hex"), 1).ok());
  REQUIRE(cell.replay(RecordType::change, golden("tickets-2-renamed.hex"), 2).ok());
  REQUIRE(cell.replay(RecordType::change, encoded_change(tickets_v2_codec(), TicketsV2::Change(TicketsV2::Taken{6})), 2)
              .ok());
  REQUIRE(cell.replay(RecordType::change, encoded_change(tickets_codec(), Tickets::Taken{"y", 2}), 3).ok());
  REQUIRE(cell.settle().ok());
  CHECK(cell->next == Counters{{"x", 50}, {"y", 2}});
}

TEST_CASE("upgrade: without a change of the new version, settle brings the state there") {
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(golden("tickets-1.hex"), 1).ok());
  REQUIRE(cell.settle().ok());
  CHECK(cell->next == Counters{{"T", 41}});
  REQUIRE(cell.settle().ok());
  CHECK(cell->next == Counters{{"T", 41}});
  Result<Bytes> saved = cell.save();
  REQUIRE(saved.ok());
  CHECK(cell.schema_version() == 3);
}

TEST_CASE("upgrade: a whole state of an older version takes the place of everything before it") {
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(golden("tickets-1.hex"), 1).ok());
  REQUIRE(cell.replay(RecordType::whole, golden("tickets-2.hex"), 2).ok());
  REQUIRE(cell.settle().ok());
  CHECK(cell->next == Counters{{"gate", 5'000'000'000}});
}

TEST_CASE("upgrade: a change of an older version than the state has is damage") {
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(golden("tickets-2.hex"), 2).ok());
  CHECK_FALSE(cell.replay(RecordType::change, golden("tickets-1-taken.hex"), 1).ok());
  StateCell<Tickets> present(tickets_codec());
  REQUIRE(present.restore(golden("tickets-3.hex"), 3).ok());
  const Result<void> late = present.replay(RecordType::change, golden("tickets-1-taken.hex"), 1);
  REQUIRE_FALSE(late.ok());
  CHECK(late.error().fault == Fault::damaged);
  CHECK(present->next == Counters{{"a", 7}, {"b", 9}});
}

TEST_CASE("upgrade: a newer version than this program knows is 78, and the state is as it was") {
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(golden("tickets-3.hex"), 3).ok());
  const Result<void> newer = cell.restore(golden("tickets-3.hex"), 4);
  REQUIRE_FALSE(newer.ok());
  CHECK(newer.error().exit_code() == 78);
  const Result<void> change = cell.replay(RecordType::change, golden("tickets-1-taken.hex"), 4);
  REQUIRE_FALSE(change.ok());
  CHECK(change.error().exit_code() == 78);
  CHECK(cell->next == Counters{{"a", 7}, {"b", 9}});
}

TEST_CASE("upgrade: damage in an old payload is damage, and a step that throws is told") {
  Tickets state;
  const Bytes whole = golden("tickets-1.hex");
  const Result<void> cut = tickets_codec().decode(whole.substr(0, whole.size() - 1), 1, state);
  REQUIRE_FALSE(cut.ok());
  CHECK(cut.error().fault == Fault::damaged);
  CHECK_FALSE(tickets_codec().decode(whole, 0, state).ok());
  StateCell<Tickets> cell(tickets_codec());
  REQUIRE(cell.restore(encoded(tickets_v2_codec(), TicketsV2{1, "cursed"}), 2).ok());
  const Result<void> settled = cell.settle();
  REQUIRE_FALSE(settled.ok());
  CHECK(settled.error().message == "upgrading to schema version 3: this prefix cannot be upgraded");
}
