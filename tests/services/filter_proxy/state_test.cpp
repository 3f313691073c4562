#include "services/filter_proxy/state.hpp"

#include <doctest/doctest.h>

#include "services/filter_proxy/filter_proxy.hpp"
#include "tests/services/client.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

TEST_CASE("filter-proxy state: changes are replayed to the same counts, and forgotten rules go") {
  StateCell<FilterProxyState> cell(filter_proxy_codec());
  ListedLog log;
  cell.attach(&log);
  cell.record(Counted{{{"ads", {1, 2, 3, 4}}, {"old", {1, 0, 0, 0}}}, {}});
  cell.record(Counted{{{"ads", {10, 0, 0, 0}}}, {"old"}});
  CHECK(cell->rules.size() == 1);
  CHECK(cell->rules.at("ads").connections == 11);
  StateCell<FilterProxyState> next(filter_proxy_codec());
  for (const Bytes& change : log.changes) REQUIRE(next.replay(state::RecordType::change, change, 1).ok());
  CHECK(*next.save() == *cell.save());
}

// golden/filter-proxy-1.payload is never made again: if this fails, the program reads otherwise what people have saved.
TEST_CASE("filter-proxy state: the golden payload of schema version 1 is read") {
  const Bytes payload = read_text(std::string(TAP_SERVICES_GOLDEN) + "/filter-proxy-1.payload");
  REQUIRE_FALSE(payload.empty());
  FilterProxyState state;
  REQUIRE(filter_proxy_codec().decode(payload, 1, state).ok());
  REQUIRE(state.rules.size() == 2);
  CHECK(state.rules.at("ads").images == 2);
  CHECK(state.rules.at("default").passed == 1'000'000'007);
  const std::unique_ptr<Service> service = make_service(filter_proxy_kind());
  CHECK(service->state()->restore(payload, 1).ok());
}
