#include "services/testing/fake_store.hpp"

#include <doctest/doctest.h>

#include "services/onetimekey/state.hpp"
#include "services/sequence/sequence.hpp"
#include "tests/services/client.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::testing;

TEST_CASE("fake store: what was synced comes back, what was not is gone") {
  StateCell<OneTimeKeyState> cell(onetimekey_codec());
  FakeStore store(cell);
  cell.record(KeyGiven{1});
  cell.record(KeyGiven{2});
  store.sync();
  cell.record(KeyGiven{3});
  CHECK(store.durable() == 2);
  CHECK(store.unsynced() == 1);
  StateCell<OneTimeKeyState> next(onetimekey_codec());
  REQUIRE(store.recover(next).ok());
  CHECK(next->next == 3);
  CHECK(next->given == 2);
}

TEST_CASE("fake store: a state that changes as a whole is kept as it is at the sync") {
  StateCell<OneTimeKeyState> cell(onetimekey_codec());
  FakeStore store(cell);
  cell.update([](OneTimeKeyState& state) { state.given = 5; });
  CHECK_FALSE(store.wants_changes());
  cell.record(KeyGiven{7});
  CHECK(store.unsynced() == 1);
  store.sync();
  StateCell<OneTimeKeyState> next(onetimekey_codec());
  REQUIRE(store.recover(next).ok());
  CHECK(*next == *cell);
}

TEST_CASE("fake store: a full one refuses changes, and nothing has changed") {
  const Kind kind = sequence_kind();
  const auto service = tests::make_service(kind);
  FakeStore store(*service->state());
  tests::StringClient client(*service);
  CHECK(client.ask("NEXT a\n") == "1\n");
  store.set_full(true);
  CHECK(client.ask("NEXT a\n") == "ERR the disk is full\n");
  CHECK(client.ask("PEEK a\n") == "2\n");
  StateCell<OneTimeKeyState> cell(onetimekey_codec());
  FakeStore other(cell);
  other.set_full(true);
  CHECK_THROWS_AS(cell.update([](OneTimeKeyState& state) { state.given = 5; }), net::Refusal);
  CHECK(cell->given == 0);
  store.set_full(false);
  CHECK(client.ask("NEXT a\n") == "2\n");
}

TEST_CASE("fake store: a state that cannot read what was recorded says so") {
  StateCell<OneTimeKeyState> cell(onetimekey_codec());
  FakeStore store(cell);
  store.change("nonsense of some length");
  store.sync();
  StateCell<OneTimeKeyState> next(onetimekey_codec());
  CHECK_FALSE(store.recover(next).ok());
}
