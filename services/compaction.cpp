#include "services/compaction.hpp"

#include <algorithm>
#include <sstream>

#include "services/application.hpp"
#include "services/net/reactor.hpp"

namespace tap::services {
namespace {

/// What has to stay free beside a new archive, for the journal goes on meanwhile: as much again, and no more than this.
/// A small state is folded on a small disk too, where it is the journal that takes the room.
constexpr std::uint64_t kSpareBytesMax = std::uint64_t{32} << 20U;

Result<void> check_room(state::Store& store, std::uint64_t archive_bytes) {
  const Result<std::uint64_t> free = store.disk().free_bytes();
  const std::uint64_t wanted = archive_bytes + std::min(archive_bytes, kSpareBytesMax);
  if (!free || *free >= wanted) return {};
  return Error{Fault::temporary, "compaction wants " + std::to_string(wanted >> 10U) +
                                     " KiB of free space, there are " + std::to_string(*free >> 10U)};
}

std::uint64_t payload_bytes(const state::Archive& archive) {
  std::uint64_t bytes = 0;
  for (const state::Section& section : archive.sections) bytes += section.payload.size();
  for (const state::Section& section : archive.pending) bytes += section.payload.size();
  return bytes;
}

}  // namespace

std::string CompactionOrder::text() const {
  return std::to_string(until_lsn) + " " + std::to_string(epoch) + " " + std::to_string(generation);
}

Result<CompactionOrder> CompactionOrder::parse(const std::string& text) {
  CompactionOrder order;
  std::istringstream stream(text);
  if (!(stream >> order.until_lsn >> order.epoch >> order.generation)) {
    return Error{Fault::internal, "'" + text + "' orders no compaction"};
  }
  return order;
}

Result<state::StoredArchive> compact(state::Store& store, const state::Definition& definition, const Registry& kinds,
                                     const CompactionOrder& order, LogSink& log) {
  Result<std::optional<state::StoredArchive>> newest = store.load(true);
  if (!newest) return std::move(newest).error();
  if (!*newest || (*newest)->archive.generation + 1 != order.generation) {
    return Error{Fault::internal, "the newest archive is not generation " + std::to_string(order.generation - 1)};
  }
  if (Result<void> roomy = check_room(store, (*newest)->file_bytes); !roomy) return std::move(roomy).error();
  net::Reactor reactor(log);
  Result<std::unique_ptr<Application>> application = Application::create(definition, kinds, reactor);
  if (!application) return std::move(application).error();
  if (Result<void> restored = (*application)->restore((*newest)->archive); !restored)
    return std::move(restored).error();
  Result<state::JournalEnd> end = store.replay((*newest)->archive, application->get(), order.until_lsn);
  if (!end) return std::move(end).error();
  if (Result<void> settled = (*application)->settle(); !settled) return std::move(settled).error();
  Result<state::Archive> next = (*application)->collect(*newest, order.until_lsn, order.epoch);
  if (!next) return std::move(next).error();
  if (Result<void> roomy = check_room(store, payload_bytes(*next)); !roomy) return std::move(roomy).error();
  return store.add(std::move(next).value());
}

}  // namespace tap::services
