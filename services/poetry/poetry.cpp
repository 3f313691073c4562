#include "services/poetry/poetry.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "services/poetry/pace.hpp"
#include "services/poetry/poem.hpp"
#include "services/poetry/reciter.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

class PoetryService final : public Service {
 public:
  explicit PoetryService(const Options& options)
      : path_(options.path("poem")),
        slow_(options.text("mode") == "slow"),
        num_bytes_(static_cast<std::size_t>(options.count("num_bytes"))),
        delay_ms_(options.duration_ms("delay")) {}

  [[nodiscard]] Result<void> start(net::Reactor& reactor) override {
    reactor_ = &reactor;
    file_.emplace(reactor, path_);
    pace_.emplace(reactor, delay_ms_);
    first_look_ = look();
    return {};
  }
  void stop() override { first_look_ = net::Deferred<void>(); }
  [[nodiscard]] bool requires_clean_end() const override { return true; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;
  [[nodiscard]] std::vector<std::string> status() const override {
    std::string text = "poem: " + recitals.text();
    if (file_) {
      text += "; " + std::to_string(file_->versions()) + " versions of it were read, " +
              std::to_string(file_->failures()) + " looks failed";
    }
    return {text};
  }

  [[nodiscard]] net::Reactor& reactor() const { return *reactor_; }
  [[nodiscard]] PoemFile& file() { return *file_; }
  [[nodiscard]] Pace& pace() { return *pace_; }
  [[nodiscard]] std::size_t num_bytes() const { return num_bytes_; }

  Recitals recitals;

 private:
  /// A poem that is not there is told when the service starts, and not only when a client comes.
  [[nodiscard]] net::Deferred<void> look() {
    Result<PoemPointer> found = co_await file_->get();
    if (found) file_->let_go(std::move(*found));
  }

  std::string path_;
  bool slow_;
  std::size_t num_bytes_;
  std::uint64_t delay_ms_;
  net::Reactor* reactor_ = nullptr;
  std::optional<PoemFile> file_;
  std::optional<Pace> pace_;
  net::Deferred<void> first_look_;
};

/// mode = "fast": as fast as the client takes it.
class FastPoem final : public Reciter {
 public:
  explicit FastPoem(PoetryService& service) : Reciter(service.recitals), service_(service) {}

  [[nodiscard]] bool owes_answer() const override { return reciting(); }
  void connection_lost(const Error& reason) override {
    Reciter::connection_lost(reason);
    service_.file().let_go(std::move(poem_));
  }

 private:
  [[nodiscard]] net::Deferred<void> recite() override {
    Result<PoemPointer> found = co_await service_.file().get();
    if (!found) {
      cut();
      co_return;
    }
    poem_ = std::move(found).value();
    const Result<void> written = co_await write_all(poem_->text());
    if (!written) co_return;
    std::uint64_t at = poem_->text().size();  // all of it, or nothing
    while (at < poem_->size() && reciting()) {
      Result<std::string> piece = co_await read_poem(service_.reactor(), poem_, at, kPieceBytes);
      if (!piece) {
        cut(piece.error().message);
        co_return;
      }
      transport().write(*piece);
      at += piece->size();
      if (!transport().congested()) continue;
      const Result<void> waited = co_await room();
      if (!waited) co_return;
    }
    finish();
  }

  PoetryService& service_;
  PoemPointer poem_;
};

/// mode = "slow": num_bytes every delay. A client that does not take them gets nothing more until it does.
class SlowPoem final : public Reciter, private Pace::Member {
 public:
  explicit SlowPoem(PoetryService& service) : Reciter(service.recitals), service_(service) {}

  /// The rest at once, if that is little: then a stop cuts nobody who reads.
  void service_stops() override {
    const bool little = poem_ != nullptr && poem_->in_memory() && poem_->size() - at_ <= kPoetryRestBytesMax;
    if (!little) {
      cut();
      return;
    }
    transport().write(poem_->text().substr(static_cast<std::size_t>(at_)));
    service_.pace().leave(*this);
    finish();
  }
  void connection_lost(const Error& reason) override {
    service_.pace().leave(*this);
    reading_ = net::Deferred<void>();
    Reciter::connection_lost(reason);
    service_.file().let_go(std::move(poem_));
  }

 private:
  [[nodiscard]] net::Deferred<void> recite() override {
    Result<PoemPointer> found = co_await service_.file().get();
    if (!found) {
      cut();
      co_return;
    }
    poem_ = std::move(found).value();
    take_turn();
  }
  void has_room() override {
    if (std::exchange(stuck_, false)) take_turn();
  }

  /// The next num_bytes; then it stands in line, unless it has to wait for something else or has told everything.
  void take_turn() override {
    if (!reciting() || poem_ == nullptr) return;
    stuck_ = transport().congested();
    const std::uint64_t left = poem_->size() - at_;
    const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(service_.num_bytes(), left));
    const bool here = poem_->in_memory() || piece_.size() - piece_at_ >= size;
    if (stuck_ || !here) {
      service_.pace().leave(*this);
      if (!stuck_) reading_ = read_on();
      return;
    }
    transport().write(next(size));
    at_ += size;
    if (at_ == poem_->size()) {
      service_.pace().leave(*this);
      finish();
    } else if (!in_line()) {
      service_.pace().join(*this);
    }
  }

  /// REQUIRES: they are here.
  std::string_view next(std::size_t size) {
    if (poem_->in_memory()) return poem_->text().substr(static_cast<std::size_t>(at_), size);
    const std::string_view bytes = std::string_view(piece_).substr(piece_at_, size);
    piece_at_ += size;
    return bytes;
  }

  [[nodiscard]] net::Deferred<void> read_on() {
    const std::size_t size = std::max(kPoetrySlowPieceBytes, service_.num_bytes());
    Result<std::string> piece = co_await read_poem(service_.reactor(), poem_, at_, size);
    if (!piece) {
      cut(piece.error().message);
      co_return;
    }
    piece_ = std::move(piece).value();
    piece_at_ = 0;
    take_turn();
  }

  PoetryService& service_;
  PoemPointer poem_;
  std::uint64_t at_ = 0;  ///< bytes that were told
  std::string piece_;     ///< of a poem that is not in memory: from at_ - piece_at_ on
  std::size_t piece_at_ = 0;
  bool stuck_ = false;  ///< its turn waits for room
  net::Deferred<void> reading_;
};

std::unique_ptr<net::Protocol> PoetryService::build_protocol() {
  if (slow_) return std::make_unique<SlowPoem>(*this);
  return std::make_unique<FastPoem>(*this);
}

Result<void> check_num_bytes(const std::string& text) {
  const std::uint64_t count = parse_count(text).value_or(0);
  if (count >= 1 && count <= kPoetryNumBytesMax) return {};
  return Error{Fault::config, "'" + text + "' is not from 1 to " + std::to_string(kPoetryNumBytesMax)};
}

Result<void> check_delay(const std::string& text) {
  const std::uint64_t ms = parse_duration_ms(text).value_or(0);
  if (ms >= 1 && ms <= kPoetryDelayMsMax) return {};
  return Error{Fault::config, "'" + text + "' is not from 1ms to " + duration_text(kPoetryDelayMsMax)};
}

}  // namespace

Kind poetry_kind() {
  Kind kind;
  kind.name = "poetry";
  kind.summary = "tells a poem to whoever connects, and ends; a poem that could not be told whole ends in a reset";
  OptionSpec poem{
      "poem", OptionSpec::Type::text, {}, "ecstasy.txt", "the file with the poem; looked at for each client"};
  poem.required = true;
  OptionSpec num_bytes{"num_bytes", OptionSpec::Type::count, {}, "10", "slow: so many bytes at once, 1 to 65536"};
  num_bytes.check = check_num_bytes;
  OptionSpec delay{"delay", OptionSpec::Type::duration, {}, "0.7s", "slow: the time between them, 1ms to 1h"};
  delay.check = check_delay;
  kind.options = {
      poem,
      {"mode", OptionSpec::Type::choice, {"fast", "slow"}, "fast", "the whole poem at once, or num_bytes every delay"},
      num_bytes,
      delay};
  kind.create = [](const Options& options) { return std::make_unique<PoetryService>(options); };
  return kind;
}

}  // namespace tap::services
