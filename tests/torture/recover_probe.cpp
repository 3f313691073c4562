// tap_recover_probe: what a worker would make of each of many store directories, in one process.
//
// Reads a directory's path a line; for each it recovers as daemon/worker.cpp does (archive, journal, settling, a fresh
// archive after an unclean end, a new segment), gives one more number, makes that durable, lets go, and recovers once
// more. Prints a line for each:
//
//     recovered GIVEN AGAIN    how many numbers had been given, and after the second recovery
//     refused CODE MESSAGE     the first recovery's error
//     refused-again CODE MESSAGE
//
// Used by: tests/torture/recorded.py
#include <fcntl.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "services/application.hpp"
#include "services/fibonacci/state.hpp"
#include "services/standard_kinds.hpp"
#include "state/files.hpp"
#include "state/store.hpp"

namespace {

using namespace tap;

class NoLog final : public LogSink {
 public:
  void write(LogLevel /*level*/, std::string_view /*who*/, std::string_view /*message*/) override {}
};

/// What the torture's daemons are started with.
state::Definition definition() {
  state::Definition made;
  made.name = "Fibonacci";
  state::ServiceDefinition service;
  service.name = service.kind = "fibonacci";
  service.listen = {"tcp:0:interface=127.0.0.1"};
  service.options["framing"] = "line";
  made.services.push_back(service);
  return made;
}

/// One life of a store: as Worker::recover(), without ports.
class Life {
 public:
  Life(Fd directory, const services::Registry& kinds, net::Reactor& reactor)
      : store_(std::move(directory)), kinds_(kinds), reactor_(reactor) {}

  Result<void> recover() {
    Result<std::optional<state::StoredArchive>> loaded = store_.load();
    if (!loaded) return std::move(loaded).error();
    stored_ = std::move(loaded).value();
    Result<std::unique_ptr<services::Application>> made = services::Application::create(definition(), kinds_, reactor_);
    if (!made) return std::move(made).error();
    application_ = std::move(made).value();
    std::uint64_t epoch = 1;
    if (stored_) {
      if (Result<void> restored = application_->restore(stored_->archive); !restored) return restored;
      Result<state::JournalEnd> end = store_.replay(stored_->archive, application_.get());
      if (!end) return std::move(end).error();
      end_ = std::move(end).value();
      if (Result<void> upgraded = application_->settle(); !upgraded) return upgraded;
      if (Result<void> settled = store_.settle(stored_->archive, end_); !settled) return settled;
      epoch = std::max(stored_->archive.epoch, end_.epoch) + 1;
    }
    if (!stored_ || end_.unclean()) {
      Result<state::Archive> archive = application_->collect(stored_, end_.last_lsn, epoch);
      if (!archive) return std::move(archive).error();
      Result<state::StoredArchive> saved = store_.save(*archive);
      if (!saved) return std::move(saved).error();
      stored_ = std::move(saved).value();
    }
    supply_.emplace(store_.disk(), definition().name);
    Result<std::unique_ptr<state::JournalWriter>> writer =
        store_.start_journal(*supply_, stored_->archive, end_, epoch, application_->introductions());
    if (!writer) return std::move(writer).error();
    writer_ = std::move(writer).value();
    return {};
  }

  /// How many numbers have been given.
  Result<std::uint64_t> given() {
    Result<state::Archive> archive = application_->collect(stored_, end_.last_lsn, 1);
    if (!archive) return std::move(archive).error();
    const state::Section* section = archive->find("fibonacci");
    if (section == nullptr) return Error{Fault::internal, "the archive has no section 'fibonacci'"};
    services::FibonacciState numbers;
    Result<void> decoded = services::fibonacci_codec().decode(section->payload, section->schema_version, numbers);
    if (!decoded) return std::move(decoded).error();
    return numbers.given;
  }

  Result<void> give_one() {
    Bytes change;
    if (Result<void> encoded = services::fibonacci_codec().encode_change({}, change); !encoded) return encoded;
    state::Batch batch;
    batch.first_lsn = writer_->last_lsn() + 1;
    batch.lsn_count = 1;
    batch.services = {0};
    state::append_record(batch.records, state::RecordType::change, 0, change);
    return writer_->write(batch);
  }

 private:
  state::Store store_;
  const services::Registry& kinds_;
  net::Reactor& reactor_;
  std::optional<state::StoredArchive> stored_;
  state::JournalEnd end_;
  std::unique_ptr<services::Application> application_;
  std::optional<state::SegmentSupply> supply_;
  std::unique_ptr<state::JournalWriter> writer_;
};

Result<std::uint64_t> live(const std::string& path, bool give, const services::Registry& kinds, net::Reactor& reactor) {
  Result<Fd> directory = state::open_directory(AT_FDCWD, path);
  if (!directory) return std::move(directory).error();
  Life life(std::move(directory).value(), kinds, reactor);
  if (Result<void> recovered = life.recover(); !recovered) return std::move(recovered).error();
  Result<std::uint64_t> given = life.given();
  if (given && give) {
    if (Result<void> gave = life.give_one(); !gave) return std::move(gave).error();
  }
  return given;
}

void print_refusal(const char* which, const Error& error) {
  std::printf("%s %d %s\n", which, error.exit_code(), error.message.c_str());
}

void probe(const std::string& path, const services::Registry& kinds, net::Reactor& reactor) {
  const Result<std::uint64_t> first = live(path, true, kinds, reactor);
  if (!first) return print_refusal("refused", first.error());
  const Result<std::uint64_t> again = live(path, false, kinds, reactor);
  if (!again) return print_refusal("refused-again", again.error());
  std::printf("recovered %llu %llu\n", static_cast<unsigned long long>(*first),
              static_cast<unsigned long long>(*again));
}

}  // namespace

int main() {
  NoLog log;
  net::Reactor reactor(log);
  const services::Registry kinds = services::standard_kinds();
  for (std::string path; std::getline(std::cin, path);) {
    probe(path, kinds, reactor);
    std::fflush(stdout);
  }
  return 0;
}
