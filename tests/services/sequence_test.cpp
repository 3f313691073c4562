// The sequence service, without a socket.
#include "services/sequence/sequence.hpp"

#include <algorithm>
#include <set>
#include <sstream>

#include "services/sequence/state.hpp"
#include "state/text.hpp"
#include "tests/services/client.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using tap::tests::ListedLog;
using tap::tests::make_service;
using tap::tests::replay;
using tap::tests::saved;
using tap::tests::StringClient;

namespace {

constexpr auto kReserve = Durability::Mode::reserve;

/// One request of a client of its own.
std::string ask(Service& service, const std::string& request) {
  StringClient client(service);
  return client.ask(request + "\n");
}

using Names = std::map<std::string, std::uint64_t>;

Names names_in(const SequenceState& state) {
  Names names;
  state.counters.visit({}, [&](std::string_view name, std::uint64_t next) {
    names[std::string(name)] = next;
    return true;
  });
  return names;
}

SequenceState state_of(const Names& names) {
  SequenceState state;
  for (const auto& [name, next] : names) state.counters.set(name, next);
  return state;
}

std::uint64_t number(Service& service, const std::string& request) { return std::stoull(ask(service, request)); }

}  // namespace

TEST_CASE("sequence: NEXT gives 1, 2, 3 of each name, to all clients together") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient first(*service);
  StringClient second(*service);
  CHECK(first.ask("NEXT a\n") == "1\n");
  CHECK(second.ask("NEXT a\n") == "2\n");
  CHECK(first.ask("NEXT b\n") == "1\n");
  CHECK(first.ask("next a\r\nNext  a \nNEXT\tb\n") == "3\n4\n2\n");
}

TEST_CASE("sequence: with a count NEXT gives the first and the last of a block, a block of one too") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  CHECK(ask(*service, "NEXT a 10") == "1 10\n");
  CHECK(ask(*service, "NEXT a 1") == "11 11\n");
  CHECK(ask(*service, "NEXT a 1000000") == "12 1000011\n");
  CHECK(ask(*service, "NEXT a") == "1000012\n");
}

TEST_CASE("sequence: PEEK takes nothing and makes no name") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"start", "100"}});
  CHECK(ask(*service, "PEEK a") == "100\n");
  CHECK(ask(*service, "LIST") == ".\n");
  CHECK(ask(*service, "NEXT a 5") == "100 104\n");
  CHECK(ask(*service, "PEEK a") == "105\n");
  CHECK(ask(*service, "PEEK a") == "105\n");
  CHECK(ask(*service, "NEXT a") == "105\n");
  CHECK(service->state()->changes() == 2);
}

TEST_CASE("sequence: what cannot be done is answered with ERR, takes nothing, and the connection goes on") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient client(*service);
  const std::string long_name(128, 'x');
  for (const std::string& request : std::vector<std::string>{"",
                                                             " ",
                                                             "FOO a",
                                                             "NEXTa",
                                                             "NEXT",
                                                             "PEEK",
                                                             "NEXT a 0",
                                                             "NEXT a -1",
                                                             "NEXT a 1000001",
                                                             "NEXT a 1x",
                                                             "NEXT a 1 1",
                                                             "NEXT a 99999999999999999999",
                                                             "NEXT " + long_name + "x",
                                                             "NEXT a\\b",
                                                             "NEXT a,b",
                                                             "NEXT \xc3\xa4",
                                                             std::string("NEXT a\0b", 8),
                                                             "PEEK a 1",
                                                             "LIST a 0",
                                                             "LIST a 10001",
                                                             "LIST a 1 1",
                                                             "LIST *"}) {
    CAPTURE(request);
    const std::string answer = client.ask(request + "\n");
    CHECK(answer.substr(0, 4) == "ERR ");
    CHECK(std::count(answer.begin(), answer.end(), '\n') == 1);
  }
  CHECK(service->state()->changes() == 0);
  CHECK_FALSE(client.transport.ending());
  CHECK(client.ask("NEXT " + long_name + "\n") == "1\n");
  CHECK(client.ask("NEXT aZ09._:-/\n") == "1\n");
}

TEST_CASE("sequence: HELP ends with a dot, QUIT ends the connection") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient client(*service);
  const std::string help = client.ask("HELP\n");
  for (const char* command : {"NEXT", "PEEK", "LIST", "QUIT"}) CHECK(help.find(command) != std::string::npos);
  CHECK(help.substr(help.size() - 3) == "\n.\n");
  CHECK(client.ask("QUIT\nNEXT a\n").empty());
  CHECK(client.transport.lost());
  CHECK(service->state()->changes() == 0);
}

TEST_CASE("sequence: LIST gives the names in the order of their bytes, above a name, and so many") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient client(*service);
  client.ask("NEXT b 4\nNEXT a\nNEXT a/2\nNEXT B\nNEXT a-1\nNEXT 9\n");
  CHECK(client.ask("LIST\n") == "9 2\nB 2\na 2\na-1 2\na/2 2\nb 5\n.\n");
  CHECK(client.ask("LIST a\n") == "a-1 2\na/2 2\nb 5\n.\n");
  CHECK(client.ask("LIST a 1\n") == "a-1 2\n.\n");
  CHECK(client.ask("LIST a0\n") == "b 5\n.\n");  // one that is not there
  CHECK(client.ask("LIST b\n") == ".\n");
}

TEST_CASE("sequence: LIST goes through thousands of names, a thousand at a time, each once") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient client(*service);
  for (int i = 0; i < 3500; ++i) client.ask("NEXT name" + std::to_string(i * 7919 % 3500) + "\n");
  std::set<std::string> seen;
  std::vector<std::size_t> lines;
  std::string last;
  do {
    std::istringstream answer(client.ask("LIST " + last + "\n"));
    lines.push_back(0);
    for (std::string line; std::getline(answer, line) && line != ".";) {
      ++lines.back();
      last = line.substr(0, line.find(' '));
      CHECK(seen.insert(last).second);
    }
  } while (lines.back() != 0);
  CHECK(seen.size() == 3500);
  CHECK(lines == std::vector<std::size_t>{1000, 1000, 1000, 500, 0});
}

TEST_CASE("sequence: while the peer does not read, no further LIST is answered") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  StringClient client(*service);
  client.ask("NEXT a\n");
  client.transport.set_congested(true);
  CHECK(client.ask("LIST\nLIST\n").empty());
  CHECK(client.protocol->owes_answer());
  client.transport.set_congested(false);
  client.protocol->output_drained();
  CHECK(client.transport.take_written() == "a 2\n.\na 2\n.\n");
}

TEST_CASE("sequence: numbers end below 2^64, and never wrap") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"start", "18446744073709551610"}});
  CHECK(ask(*service, "NEXT a 6") == "ERR this name has 5 numbers left\n");
  CHECK(ask(*service, "LIST") == ".\n");
  CHECK(ask(*service, "NEXT a 4") == "18446744073709551610 18446744073709551613\n");
  CHECK(ask(*service, "NEXT a 2") == "ERR this name has 1 numbers left\n");
  CHECK(ask(*service, "NEXT a") == "18446744073709551614\n");
  CHECK(ask(*service, "NEXT a") == "ERR the numbers of this name are used up\n");
  CHECK(ask(*service, "NEXT a 1000000") == "ERR the numbers of this name are used up\n");
  CHECK(ask(*service, "PEEK a") == "ERR the numbers of this name are used up\n");
}

TEST_CASE("sequence: above names_max a new name is refused, the others go on") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"names_max", "2"}});
  CHECK(ask(*service, "NEXT a") == "1\n");
  CHECK(ask(*service, "NEXT b") == "1\n");
  CHECK(ask(*service, "NEXT c") == "ERR there are 2 names already, no more may be added\n");
  CHECK(ask(*service, "PEEK c") == "1\n");
  CHECK(ask(*service, "NEXT b") == "2\n");
  CHECK(ask(*service, "LIST") == "a 2\nb 3\n.\n");
}

TEST_CASE("sequence: every NEXT is a record of a few bytes, and the records replayed give the same state") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"start", "5"}});
  ListedLog log;
  service->state()->attach(&log);
  ask(*service, "NEXT a");
  ask(*service, "NEXT bb 10");
  ask(*service, "NEXT a");
  CHECK(log.changes.size() == 3);
  CHECK(log.changes[0].size() == 1 + 1 + 8);
  const std::unique_ptr<Service> resumed = make_service(sequence_kind(), {{"start", "900"}});
  replay(*resumed, log);
  CHECK(saved(*resumed) == saved(*service));
  CHECK(ask(*resumed, "LIST") == "a 7\nbb 15\n.\n");
  CHECK(ask(*resumed, "NEXT new") == "900\n");
}

TEST_CASE("sequence: when the disk is full NEXT is refused and takes nothing, PEEK and LIST go on") {
  for (const auto mode : {Durability::Mode::strict, kReserve}) {
    const std::unique_ptr<Service> service = make_service(sequence_kind(), {}, mode);
    ListedLog log;
    service->state()->attach(&log);
    CHECK(ask(*service, "NEXT a") == "1\n");
    log.full = true;
    CHECK(ask(*service, "NEXT a") == "ERR the disk is full\n");
    CHECK(ask(*service, "NEXT new") == "ERR the disk is full\n");
    CHECK(ask(*service, "PEEK a") == "2\n");
    CHECK(ask(*service, "LIST") == "a 2\n.\n");
    log.full = false;
    CHECK(ask(*service, "NEXT a") == "2\n");
  }
}

// --- durability reserve -------------------------------------------------------------------------------------------

TEST_CASE("sequence: reserve gives the same numbers with a record for each block only, and blocks grow") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"reserve_block", "100"}}, kReserve);
  ListedLog log;
  service->state()->attach(&log);
  std::vector<std::uint64_t> recorded_at;
  for (std::uint64_t i = 1; i <= 400; ++i) {
    const std::size_t before = log.changes.size();
    CHECK(number(*service, "NEXT a") == i);
    if (log.changes.size() != before) recorded_at.push_back(i);
  }
  CHECK(recorded_at == std::vector<std::uint64_t>{1, 2, 4, 8, 16, 32, 64, 128, 228, 328});
  CHECK(ask(*service, "PEEK a") == "401\n");
  CHECK(ask(*service, "LIST") == "a 401\n.\n");
}

TEST_CASE("sequence: reserve after a crash at any request repeats nothing and skips less than a block") {
  const std::vector<std::string> requests{"NEXT a", "NEXT a", "NEXT b 3", "NEXT a 7", "NEXT a", "NEXT a 50",
                                          "NEXT b", "NEXT b", "NEXT a",   "NEXT a",   "NEXT a", "NEXT a 2"};
  for (std::size_t crash = 1; crash <= requests.size(); ++crash) {
    const std::unique_ptr<Service> service = make_service(sequence_kind(), {{"reserve_block", "8"}}, kReserve);
    ListedLog log;
    service->state()->attach(&log);
    for (std::size_t i = 0; i < crash; ++i) (void)ask(*service, requests[i]);
    const std::unique_ptr<Service> resumed = make_service(sequence_kind(), {{"reserve_block", "8"}}, kReserve);
    replay(*resumed, log);
    for (const char* name : {"a", "b"}) {
      const std::uint64_t would = number(*service, std::string("PEEK ") + name);
      const std::uint64_t next = number(*resumed, std::string("NEXT ") + name);
      CHECK(next >= would);
      CHECK(next < would + 8);
    }
  }
}

TEST_CASE("sequence: reserve skips nothing at a clean stop, by the state and by the journal alone") {
  const Kind kind = sequence_kind();
  const std::unique_ptr<Service> service = make_service(kind, {}, kReserve);
  ListedLog log;
  service->state()->attach(&log);
  for (int i = 0; i < 700; ++i) (void)ask(*service, "NEXT a");
  (void)ask(*service, "NEXT b 5000");
  service->stop();
  const std::unique_ptr<Service> by_state = make_service(kind, {}, kReserve);
  REQUIRE(by_state->state()->restore(saved(*service), 1).ok());
  const std::unique_ptr<Service> by_journal = make_service(kind);
  replay(*by_journal, log);
  for (Service* resumed : {by_state.get(), by_journal.get()}) {
    CHECK(ask(*resumed, "NEXT a") == "701\n");
    CHECK(ask(*resumed, "NEXT b") == "5001\n");
  }
}

TEST_CASE("sequence: reserve at a stop for which the disk has no room skips, and does not repeat") {
  const std::unique_ptr<Service> service = make_service(sequence_kind(), {}, kReserve);
  ListedLog log;
  service->state()->attach(&log);
  for (int i = 0; i < 5; ++i) (void)ask(*service, "NEXT a");
  log.full = true;
  service->stop();
  const std::unique_ptr<Service> resumed = make_service(sequence_kind(), {}, kReserve);
  REQUIRE(resumed->state()->restore(saved(*service), 1).ok());
  CHECK(ask(*resumed, "NEXT a") == "8\n");
}

TEST_CASE("sequence: reserve goes to the very last number and not beyond") {
  const std::unique_ptr<Service> service =
      make_service(sequence_kind(), {{"start", "18446744073709551600"}, {"reserve_block", "0"}}, kReserve);
  for (std::uint64_t i = 18446744073709551600U; i <= 18446744073709551614U; ++i) CHECK(number(*service, "NEXT a") == i);
  CHECK(ask(*service, "NEXT a").substr(0, 4) == "ERR ");
  const std::unique_ptr<Service> growing = make_service(sequence_kind(), {{"start", "18446744073709551600"}}, kReserve);
  for (std::uint64_t i = 18446744073709551600U; i <= 18446744073709551614U; ++i) CHECK(number(*growing, "NEXT a") == i);
  CHECK(ask(*growing, "NEXT a").substr(0, 4) == "ERR ");
}

// --- the state ----------------------------------------------------------------------------------------------------

// golden/sequence-1.payload is never made again: if this fails, the program reads otherwise what people have saved.
TEST_CASE("sequence: the golden payload of schema version 1 is read") {
  const Bytes payload = tap::tests::read_text(std::string(TAP_SERVICES_GOLDEN) + "/sequence-1.payload");
  REQUIRE_FALSE(payload.empty());
  SequenceState state;
  REQUIRE(sequence_codec().decode(payload, 1, state).ok());
  const Names expected{
      {"-", 2}, {"a/b:c.d_e", 18446744073709551615U}, {"invoices", 10'001}, {std::string(128, 'z'), 1}};
  CHECK(names_in(state) == expected);
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  REQUIRE(service->state()->restore(payload, 1).ok());
  CHECK(ask(*service, "NEXT invoices") == "10001\n");
}

TEST_CASE("sequence: a damaged payload is refused wherever it is cut or changed in its lengths and names") {
  const std::unique_ptr<Service> service = make_service(sequence_kind());
  ask(*service, "NEXT aa");
  ask(*service, "NEXT bb");
  const Bytes payload = saved(*service);
  REQUIRE(payload.size() == 4 + 8 + 2 * (1 + 2 + 8));
  const auto refused = [&](const Bytes& bytes) {
    SequenceState state;
    const Result<void> decoded = sequence_codec().decode(bytes, 1, state);
    return !decoded && decoded.error().fault == Fault::damaged;
  };
  for (std::size_t size = 0; size < payload.size(); ++size) CHECK(refused(payload.substr(0, size)));
  CHECK(refused(payload + '\0'));
  const auto with = [&](std::size_t at, char byte) {
    Bytes bytes = payload;
    bytes[at] = byte;
    return bytes;
  };
  CHECK(refused(with(11, '\x7f')));  // a count of 2^62 and more
  CHECK(refused(with(12, '\0')));    // a name of no length
  CHECK(refused(with(12, '\xff')));
  CHECK(refused(with(13, ' ')));
  CHECK(refused(with(13, 'c')));  // out of order
  Bytes twice = with(24, 'a');
  twice[25] = 'a';
  CHECK(refused(twice));
  SequenceState state;
  CHECK(sequence_codec().decode(payload, 2, state).error().fault == Fault::config);
  CHECK(sequence_codec().decode(payload, 1, state).ok());
}

TEST_CASE("sequence: counters from an archive and new ones are one order, each name once") {
  Names expected;
  SequenceState first;
  for (int i = 0; i < 300; ++i) first.counters.set("n" + std::to_string(i * 7), 1);
  const Result<Bytes> payload = sequence_codec().encode(first);
  REQUIRE(payload.ok());
  SequenceState state;
  REQUIRE(sequence_codec().decode(*payload, 1, state).ok());
  expected = names_in(first);
  CHECK(names_in(state) == expected);
  for (int i = 0; i < 2100; i += 3) {  // some are there, most are new
    const std::string name = "n" + std::to_string(i);
    state.counters.set(name, static_cast<std::uint64_t>(i));
    expected[name] = static_cast<std::uint64_t>(i);
  }
  CHECK(names_in(state) == expected);
  CHECK(state.counters.size() == expected.size());
  for (const auto& [name, next] : expected) {
    const std::uint64_t* found = state.counters.find(name);
    REQUIRE(found != nullptr);
    CHECK(*found == next);
    std::string above;
    state.counters.visit(name, [&](std::string_view other, std::uint64_t) {
      above = other;
      return false;
    });
    const auto following = expected.upper_bound(name);
    CHECK(above == (following == expected.end() ? "" : following->first));
  }
  CHECK(state.counters.find("n") == nullptr);
  CHECK(state.counters.find("n1") == nullptr);
  CHECK(state.counters.find("z") == nullptr);
  // The payload is the same as if it had been made in one go.
  SequenceState at_once;
  for (const auto& [name, next] : expected) at_once.counters.set(name, next);
  CHECK(*sequence_codec().encode(state) == *sequence_codec().encode(at_once));
}

TEST_CASE("sequence: a change with a wrong name is refused") {
  SequenceState state;
  Bytes change;
  REQUIRE(sequence_codec().encode_change({"a", 5}, change).ok());
  CHECK(sequence_codec().apply_change(state, change, 1).ok());
  CHECK(names_in(state) == Names{{"a", 5}});
  CHECK_FALSE(sequence_codec().apply_change(state, change + "x", 1).ok());
  CHECK_FALSE(sequence_codec().apply_change(state, change.substr(0, 9), 1).ok());
  change[1] = '\n';
  CHECK_FALSE(sequence_codec().apply_change(state, change, 1).ok());
  CHECK(state.counters.size() == 1);
}

namespace {

const state::StateType* types(std::string_view kind) { return kind == "sequence" ? &sequence_codec() : nullptr; }

state::Archive archive_of(const SequenceState& state) {
  state::Archive archive;
  archive.lineage = state::Lineage::make();
  archive.definition.name = "Sequence";
  Result<Bytes> payload = sequence_codec().encode(state);
  REQUIRE(payload.ok());
  archive.sections.push_back({"numbers", "sequence", 1, state::PayloadCodec::cereal, std::move(payload).value()});
  return archive;
}

}  // namespace

TEST_CASE("sequence: its state goes to JSON and XML and back without loss") {
  const SequenceState full = state_of(
      {{"a", 1}, {"invoices/2026", 18446744073709551615U}, {"base64:x", 7}, {"-", 0}, {std::string(128, 'z'), 9}});
  for (const SequenceState& state : {SequenceState{}, full}) {
    const state::Archive archive = archive_of(state);
    for (const auto format : {state::TextFormat::json, state::TextFormat::xml}) {
      const Result<std::string> text = state::to_text(archive, format, types);
      REQUIRE(text.ok());
      CHECK((text->find("invoices/2026") == std::string::npos) == (state.counters.size() == 0));
      const Result<state::Archive> back = state::from_text(*text, format, types);
      REQUIRE(back.ok());
      CHECK(back->sections[0].payload == archive.sections[0].payload);
    }
  }
}

TEST_CASE("sequence: JSON that was edited may be in any order, but not have a name twice or one that is none") {
  const SequenceState state = state_of({{"aa", 11}, {"bb", 22}});
  const Result<std::string> text = state::to_text(archive_of(state), state::TextFormat::json, types);
  REQUIRE(text.ok());
  const auto edited = [&](const std::string& name) {
    std::string changed = *text;
    const std::string field = "\"name\": \"aa\"";
    REQUIRE(changed.find(field) != std::string::npos);
    changed.replace(changed.find(field), field.size(), "\"name\": \"" + name + "\"");
    return state::from_text(changed, state::TextFormat::json, types);
  };
  const Result<state::Archive> moved = edited("zz");
  REQUIRE(moved.ok());
  SequenceState read;
  REQUIRE(sequence_codec().decode(moved->sections[0].payload, 1, read).ok());
  CHECK(names_in(read)["zz"] == 11);
  CHECK_FALSE(edited("bb").ok());
  CHECK_FALSE(edited("a b").ok());
  CHECK_FALSE(edited("").ok());
}
