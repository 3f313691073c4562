// World: two states with a journal on a real directory with hooks, for the tests of the committer.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "services/committer.hpp"
#include "state/archive.hpp"
#include "state/store.hpp"
#include "tests/services/barrier.hpp"
#include "tests/services/net/fixture.hpp"
#include "tests/services/probe.hpp"
#include "tests/state/hooked_disk.hpp"
#include "tests/support/temporary_directory.hpp"

namespace tap::tests {

/// Counts what is replayed.
class CountingSink final : public state::ReplaySink {
 public:
  Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override {
    if (type == state::RecordType::whole) wholes[of.service] = std::string(payload);
    else ++changes[of.service];
    return {};
  }
  std::map<std::string, int> changes;
  std::map<std::string, std::string> wholes;
};

inline const ProbeCodec kCodec;
inline constexpr services::Durability kStrict{services::Durability::Mode::strict, 0};

/// Two states with a journal, on a real directory with hooks.
struct CommitterWorld {
  TemporaryDirectory directory;
  HookedDisk disk{directory.path()};
  Loop loop;
  state::SegmentSupply supply{disk, "Test"};
  state::Lineage lineage = state::Lineage::make();
  services::StateCell<ProbeState> first{kCodec};
  services::StateCell<ProbeState> second{kCodec};
  std::unique_ptr<services::Committer> committer;
  std::string broken;

  explicit CommitterWorld(services::Committer::Place place = services::Committer::Place::loop,
                          services::Durability of_first = kStrict, services::Durability of_second = kStrict) {
    Result<std::unique_ptr<state::JournalWriter>> writer = state::JournalWriter::open(
        disk, supply, {"Test", lineage, 1, 0, 0, {{2, "first", "probe"}, {2, "second", "probe"}}});
    REQUIRE(writer.ok());
    committer = std::make_unique<services::Committer>(
        loop.reactor, supply, std::move(writer).value(), [this](const Error& error) { broken = error.message; }, place);
    committer->add(0, first, of_first);
    committer->add(1, second, of_second);
  }
  ~CommitterWorld() {
    committer.reset();
    first.attach(nullptr);
    second.attach(nullptr);
  }
  /// Each sync waits while `slow` is closed. Lifetime: of `slow`: as long as something may be written.
  void sync_through(Barrier& slow) {
    disk.hook = [&slow](const std::string& operation, const std::string&) {
      if (operation == "sync") slow.pass();
      return 0;
    };
  }
  /// What another process would find now.
  CountingSink replayed() {
    CountingSink sink;
    Result<state::JournalEnd> end = state::read_journal(disk, lineage, 0, &sink);
    REQUIRE_MESSAGE(end.ok(), (end.ok() ? "" : end.error().message));
    last = std::move(end).value();
    return sink;
  }
  state::JournalEnd last;
};

}  // namespace tap::tests
