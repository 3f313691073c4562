#include "services/store_view.hpp"

#include "services/application.hpp"
#include "services/net/reactor.hpp"

namespace tap::services {
namespace {

class SilentLog final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view) override {}
};

/// Only what this program knows can be run; the rest is as if it were not configured, and stays as it is.
state::Definition known_part(const state::Definition& definition, const Registry& kinds) {
  state::Definition known = definition;
  known.services.clear();
  for (const state::ServiceDefinition& service : definition.services) {
    if (kinds.find(service.kind) != nullptr) known.services.push_back(service);
  }
  return known;
}

/// Passes changes on and remembers how far that went.
class Follower final : public state::ReplaySink {
 public:
  Follower(Application& application, std::uint64_t base_lsn) : application_(application), last_lsn(base_lsn) {}
  Result<void> replay(const state::Introduction& of, state::RecordType type, ByteView payload) override {
    return application_.replay(of, type, payload);
  }
  void batch_replayed(std::uint64_t lsn) override { last_lsn = lsn; }

 private:
  Application& application_;

 public:
  std::uint64_t last_lsn;
};

std::string changes_text(const state::JournalEnd& end) {
  return std::to_string(end.records) + (end.records == 1 ? " change" : " changes") + " in " +
         std::to_string(end.batches) + (end.batches == 1 ? " batch" : " batches");
}

}  // namespace

Result<StoreView> view_store(state::Store& store, const Registry& kinds) {
  Result<std::optional<state::StoredArchive>> loaded = store.load(true);
  if (!loaded) return std::move(loaded).error();
  if (!*loaded) return Error{Fault::no_input, "it holds no archives: it is not a store, or an empty one"};
  Result<StoreView> view = view_store_from(store, std::move(**loaded), kinds);
  if (view) view->notes = store.take_report();
  return view;
}

Result<StoreView> view_store_from(state::Store& store, state::StoredArchive from, const Registry& kinds) {
  StoreView view;
  view.stored = std::move(from);
  const state::Archive& archive = view.stored.archive;
  SilentLog log;
  net::Reactor reactor(log);
  Result<std::unique_ptr<Application>> made =
      Application::create(known_part(archive.definition, kinds), kinds, reactor);
  if (!made) return std::move(made).error();
  Application& application = **made;
  if (Result<void> restored = application.restore(archive); !restored) return std::move(restored).error();
  Follower follower(application, archive.base_lsn);
  Result<state::JournalEnd> end = store.replay(archive, &follower);
  if (end) view.end = std::move(end).value();
  else view.damage = std::move(end).error();
  if (Result<void> settled = application.settle(); !settled) return std::move(settled).error();
  Result<state::Archive> collected = application.collect(view.stored, follower.last_lsn, archive.epoch);
  if (!collected) return std::move(collected).error();
  view.present = archive;
  view.present.sections = std::move(collected->sections);
  view.present.pending = std::move(collected->pending);
  view.present.base_lsn = follower.last_lsn;
  return view;
}

std::vector<std::string> StoreView::report() const {
  std::vector<std::string> lines = notes;
  if (damage) {
    lines.push_back("the journal cannot be read to its end; the state is that of LSN " +
                    std::to_string(present.base_lsn) + ", before the damage: " + damage->message);
    return lines;
  }
  if (end.segments.empty()) {
    lines.emplace_back("there is no journal; the archive is the state");
  } else if (end.records == 0) {
    lines.push_back("the journal has nothing since the archive (LSN " + std::to_string(end.last_lsn) + ")" +
                    (end.sealed ? ", sealed" : ""));
  } else {
    lines.push_back(changes_text(end) + " since the archive, up to LSN " + std::to_string(end.last_lsn) +
                    (end.sealed ? ", sealed" : ", not sealed"));
  }
  if (end.tear) {
    lines.push_back("a write was not finished: " + std::to_string(end.tear->bytes) + " bytes at offset " +
                    std::to_string(end.tear->offset) + " of " + end.tear->file +
                    "; nobody was told of it; the next start keeps a copy in quarantine/ and cuts it");
  }
  for (const std::string& stranger : end.strangers) lines.push_back(stranger + " belongs to another lineage");
  for (const state::Section& pending : present.pending) {
    lines.push_back("changes of '" + pending.service + "' (" + pending.kind + ") wait for it to be configured again");
  }
  return lines;
}

}  // namespace tap::services
