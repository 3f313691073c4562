#include "services/compaction.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <map>

#include "services/application.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/probe.hpp"
#include "tests/state/hooked_disk.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::tests;

namespace {

using Cells = std::map<std::string, StateCell<ProbeState>*>;

/// A service that does nothing by itself: the test changes its state.
class PassiveService final : public Service {
 public:
  PassiveService(Cells& cells, std::string name) : cells_(cells), name_(std::move(name)) { cells_[name_] = &state_; }
  ~PassiveService() override { cells_.erase(name_); }
  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return nullptr; }

 private:
  Cells& cells_;
  std::string name_;
  StateCell<ProbeState> state_{probe_codec()};
};

Kind passive_kind(Cells& cells) {
  Kind kind;
  kind.name = "passive";
  kind.options = {{"label", OptionSpec::Type::text, {}, "?", "its name"}};
  kind.state = &probe_codec();
  kind.create = [&cells](const Options& options) {
    return std::make_unique<PassiveService>(cells, options.text("label"));
  };
  return kind;
}

state::Definition definition_of(const std::vector<std::string>& names) {
  state::Definition definition;
  definition.name = "Test";
  for (const std::string& name : names) {
    state::ServiceDefinition service;
    service.name = name;
    service.kind = "passive";
    service.options = {{"label", name}};
    definition.services.push_back(service);
  }
  return definition;
}

/// One opener of a store, as the worker is: recovered, with a journal, and with states that the test changes.
class Opener {
 public:
  Opener(const TemporaryDirectory& directory, const std::vector<std::string>& names)
      : path_(directory.path()), store(std::make_unique<HookedDisk>(path_)), definition(definition_of(names)) {
    Result<std::optional<state::StoredArchive>> loaded = store.load();
    REQUIRE(loaded.ok());
    stored = *loaded;
    Result<std::unique_ptr<Application>> made = Application::create(definition, kinds_, loop.reactor);
    REQUIRE(made.ok());
    application = std::move(made).value();
    state::JournalEnd end;
    if (stored) {
      REQUIRE(application->restore(stored->archive).ok());
      Result<state::JournalEnd> replayed = store.replay(stored->archive, application.get());
      REQUIRE_MESSAGE(replayed.ok(), (replayed.ok() ? "" : replayed.error().message));
      end = *replayed;
      REQUIRE(application->settle().ok());
      REQUIRE(store.settle(stored->archive, end).ok());
      epoch = std::max(stored->archive.epoch, end.epoch) + 1;
    }
    if (!stored || end.unclean()) save(end.last_lsn);
    supply.emplace(store.disk(), "Test");
    Result<std::unique_ptr<state::JournalWriter>> writer =
        store.start_journal(*supply, stored->archive, end, epoch, application->introductions());
    REQUIRE(writer.ok());
    committer = std::make_unique<Committer>(
        loop.reactor, *supply, std::move(writer).value(), [](const Error&) {}, Committer::Place::loop);
    application->journal(*committer);
  }
  ~Opener() {
    committer.reset();
    application.reset();
  }
  Opener(const Opener&) = delete;
  Opener& operator=(const Opener&) = delete;

  void save(std::uint64_t base_lsn) {
    Result<state::Archive> archive = application->collect(stored, base_lsn, epoch);
    REQUIRE(archive.ok());
    Result<state::StoredArchive> saved = store.save(*archive);
    REQUIRE(saved.ok());
    stored = *saved;
  }
  void change(const std::string& service, int times) {
    for (int i = 0; i < times; ++i) {
      cells_.at(service)->record(Probed{});
      loop.turn();
    }
  }
  [[nodiscard]] std::uint64_t count(const std::string& service) const { return (*cells_.at(service))->count; }
  CompactionOrder order() {
    std::optional<std::uint64_t> until;
    REQUIRE(loop.turn_until([&] { return (until = committer->end_segment()).has_value(); }));
    return {*until, epoch, stored->archive.generation + 1};
  }
  /// What the helper process does.
  Result<state::StoredArchive> compacted(const CompactionOrder& wanted, const DiskHook& hook = nullptr,
                                         std::optional<std::uint64_t> free_bytes = {}) const {
    auto disk = std::make_unique<HookedDisk>(path_);
    disk->hook = hook;
    disk->free_told = free_bytes;
    state::Store other(std::move(disk));
    Cells cells;
    const Registry kinds{{passive_kind(cells)}};
    testing::RecordingLog log;
    return compact(other, definition, kinds, wanted, log);
  }

 private:
  Cells cells_;
  Registry kinds_{{passive_kind(cells_)}};
  std::string path_;

 public:
  Loop loop;
  state::Store store;
  state::Definition definition;
  std::unique_ptr<Application> application;
  std::optional<state::StoredArchive> stored;
  std::optional<state::SegmentSupply> supply;
  std::unique_ptr<Committer> committer;
  std::uint64_t epoch = 1;
};

std::vector<std::string> wal_files(const TemporaryDirectory& directory) {
  HookedDisk disk(directory.path());
  std::vector<std::string> files;
  Result<std::vector<state::SegmentFile>> segments = state::list_segments(disk);
  REQUIRE(segments.ok());
  for (const state::SegmentFile& segment : *segments) files.push_back(segment.file);
  return files;
}

}  // namespace

TEST_CASE("compaction: the archive it makes is what the live state was at that LSN") {
  const TemporaryDirectory directory;
  Opener opener(directory, {"a", "b"});
  opener.change("a", 30);
  opener.change("b", 12);
  const CompactionOrder order = opener.order();
  Result<state::Archive> live = opener.application->collect(opener.stored, order.until_lsn, opener.epoch);
  REQUIRE(live.ok());
  opener.change("a", 5);  // the journal goes on meanwhile
  Result<state::StoredArchive> made = opener.compacted(order);
  REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.error().message));
  CHECK(made->archive.sections == live->sections);
  CHECK(made->archive.definition == live->definition);
  CHECK(made->archive.base_lsn == 42);
  CHECK(made->archive.generation == 2);
  CHECK(made->archive.ancestors == live->ancestors);
}

TEST_CASE("compaction: recovery from its archive and the rest of the journal gives everything") {
  const TemporaryDirectory directory;
  {
    Opener opener(directory, {"a", "b"});
    opener.change("a", 30);
    REQUIRE(opener.compacted(opener.order()).ok());
    opener.store.tidy(2, &*opener.supply);
    opener.change("a", 3);
    opener.change("b", 4);
  }
  const Opener again(directory, {"a", "b"});
  CHECK(again.count("a") == 33);
  CHECK(again.count("b") == 4);
}

TEST_CASE("compaction: one after the other, segments go when the older archive needs them no more") {
  const TemporaryDirectory directory;
  Opener opener(directory, {"a"});
  for (int i = 0; i < 4; ++i) {
    opener.change("a", 10);
    const CompactionOrder order = opener.order();
    Result<state::StoredArchive> made = opener.compacted(order);
    REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.error().message));
    opener.stored = *made;
    opener.store.tidy(order.generation, &*opener.supply);
  }
  opener.change("a", 1);
  // Generation 4's base is LSN 30: what follows it stays, for the case that generation 5 is damaged.
  CHECK(wal_files(directory) == std::vector<std::string>{"Test-31.wal", "Test-41.wal"});
  HookedDisk disk(directory.path());
  Result<state::JournalEnd> end = state::read_journal(disk, opener.stored->archive.lineage, 30, nullptr);
  REQUIRE(end.ok());
  CHECK(end->last_lsn == 41);
  CHECK(end->records == 11);
}

TEST_CASE("compaction: a damaged new archive costs nothing: the older one and both journals are used") {
  const TemporaryDirectory directory;
  {
    Opener opener(directory, {"a"});
    opener.change("a", 10);
    REQUIRE(opener.compacted(opener.order()).ok());
    opener.store.tidy(2, &*opener.supply);
    opener.change("a", 7);
  }
  std::string bytes = read_text(directory / "Test-2.tap");
  const std::size_t payload = bytes.rfind("passive") + 7;
  bytes[payload] = static_cast<char>(bytes[payload] ^ 1);
  write_text(directory / "Test-2.tap", bytes);
  Opener again(directory, {"a"});
  CHECK(again.count("a") == 17);
  CHECK(read_text(directory / "quarantine/Test-2.tap") == bytes);
}

TEST_CASE("compaction: whatever fails in it, the store is as good as before") {
  for (const int code : {ENOSPC, EIO, EROFS}) {
    for (int failing = 1; failing < 8; ++failing) {
      const TemporaryDirectory directory;
      bool failed = false;
      {
        Opener opener(directory, {"a"});
        opener.change("a", 10);
        int calls = 0;
        const auto hook = [&](const std::string&, const std::string&) {
          if (++calls != failing) return 0;
          failed = true;
          return code;
        };
        const CompactionOrder order = opener.order();
        const bool made = opener.compacted(order, hook).ok();
        CHECK(made == !failed);
        opener.change("a", 5);
        if (!made && *opener.store.newest_generation() == 1) CHECK(opener.compacted(opener.order()).ok());
      }
      const Opener again(directory, {"a"});
      CHECK(again.count("a") == 15);
      if (!failed) break;
    }
  }
}

TEST_CASE("compaction: a disk with too little room for it is told, and nothing is written") {
  const TemporaryDirectory directory;
  Opener opener(directory, {"a"});
  opener.change("a", 1);
  const CompactionOrder order = opener.order();
  int writes = 0;
  const auto count = [&](const std::string&, const std::string&) { return ++writes, 0; };
  const std::uint64_t wanted = 2 * opener.stored->file_bytes;  // as much again as it takes
  const Result<state::StoredArchive> refused = opener.compacted(order, count, wanted - 1);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message.starts_with("compaction wants "));
  CHECK(writes == 0);
  CHECK(opener.compacted(order, nullptr, wanted).ok());
}

TEST_CASE("compaction: an order for another generation than the next one is refused") {
  const TemporaryDirectory directory;
  Opener opener(directory, {"a"});
  opener.change("a", 1);
  CompactionOrder order = opener.order();
  order.generation += 1;
  CHECK_FALSE(opener.compacted(order).ok());
  CHECK(*opener.store.newest_generation() == 1);
}

TEST_CASE("compaction: an order goes through its text") {
  const CompactionOrder order{12, 3, 4};
  const Result<CompactionOrder> parsed = CompactionOrder::parse(order.text());
  REQUIRE(parsed.ok());
  CHECK(parsed->text() == "12 3 4");
  CHECK_FALSE(CompactionOrder::parse("12 3").ok());
}

TEST_CASE("journal: changes of a service that has left the config are kept, and come back with it") {
  const TemporaryDirectory directory;
  {
    Opener opener(directory, {"a", "b"});
    opener.change("a", 3);
    opener.change("b", 4);  // never folded into an archive
  }
  {
    Opener without(directory, {"a"});
    CHECK(without.count("a") == 3);
    CHECK(without.stored->archive.pending.size() == 1);
    without.change("a", 2);
    REQUIRE(without.compacted(without.order()).ok());  // the helper process keeps them too
    without.store.tidy(3, &*without.supply);
  }
  {
    const Opener still_without(directory, {"a"});
    CHECK(still_without.count("a") == 5);
    CHECK(still_without.stored->archive.pending.size() == 1);
  }
  Opener back(directory, {"b", "a"});  // its number is another one now
  CHECK(back.count("a") == 5);
  CHECK(back.count("b") == 4);
  CHECK(back.stored->archive.pending.size() == 0);
  back.change("b", 1);
  CHECK(back.count("b") == 5);
}
