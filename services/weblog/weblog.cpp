#include "services/weblog/weblog.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "services/net/deferred_tools.hpp"
#include "services/net/directory_watch.hpp"
#include "services/net/pool.hpp"
#include "services/net/refusal.hpp"
#include "services/net/task_set.hpp"
#include "services/timer_service.hpp"
#include "services/units.hpp"
#include "services/weblog/clients.hpp"
#include "services/weblog/log_look.hpp"
#include "services/weblog/state.hpp"

namespace tap::services {
namespace weblog {
namespace {

/// After a look hits are gathered for so long, so that a busy log costs ten looks a second and as many records.
constexpr std::uint64_t kGatherMs = 100;
/// While clients have much to take, so long between looks that find more: 2.5 MB a second go on whatever they do.
constexpr std::uint64_t kPaceMs = 100;
/// When the disk has no room for the record of a look, it is tried again.
constexpr std::uint64_t kRetryMs = 1000;
/// With more than this a push comes before its time.
constexpr std::size_t kPushBytes = std::size_t{1} << 20U;

class WeblogService final : public Service {
 public:
  explicit WeblogService(const Options& options);

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return clients_.make(); }
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  void stop() override;
  [[nodiscard]] std::vector<std::string> status() const override;

 private:
  /// What goes on from the start to the stop: a look, what it found, and a wait for more.
  net::Deferred<void> follow();
  net::Deferred<void> wait_for_change();
  [[nodiscard]] LogLook next_look();
  [[nodiscard]] bool take_in(LogSeen& seen);
  void tell(LogSeen& seen);
  void tell_kept();
  void changed();
  void say(LogLevel level, const std::string& message) { reactor_->log().write(level, who_, message); }

  std::string path_;
  std::uint64_t keep_;
  std::uint64_t poll_every_ms_;
  bool from_start_;
  StateCell<WeblogState> state_{weblog_codec()};
  Clients clients_;
  TimerService pushing_;
  net::Reactor* reactor_ = nullptr;
  std::string who_;
  std::vector<LogFile> files_;
  std::unique_ptr<net::DirectoryWatch> watch_;
  std::optional<net::TaskSet> tasks_;
  std::optional<net::DeferredSource<void>> change_;  // while somebody waits for one
  bool changed_ = false;
  bool looked_ = false;
  bool full_ = false;         ///< the disk: said in the log
  bool unwatched_ = false;    ///< the same
  std::string trouble_;       ///< the same
  std::size_t unpushed_ = 0;  ///< bytes since the last push
  std::uint64_t looks_ = 0;
  std::uint64_t rotations_ = 0;
  std::uint64_t cuts_ = 0;
};

WeblogService::WeblogService(const Options& options)
    : path_(options.path("log")),
      keep_(options.count("keep")),
      poll_every_ms_(options.duration_ms("poll_every")),
      from_start_(options.boolean("from_start")),
      clients_(options.text("mode") == "pull", static_cast<std::size_t>(options.size_bytes("backlog"))),
      pushing_("push", options.duration_ms("push_every"), [this] {
        unpushed_ = 0;
        clients_.push();
      }) {}

Result<void> WeblogService::start(net::Reactor& reactor) {
  reactor_ = &reactor;
  who_ = reactor.name_of(reactor.charged());
  for (const LogPlace& place : state_->files) files_.push_back({place, nullptr, reactor.now_ms()});
  tell_kept();
  tasks_.emplace(reactor, who_, 1);
  tasks_->add(follow(), "following " + path_);
  return clients_.pull() ? Result<void>() : pushing_.start(reactor);
}

void WeblogService::stop() {
  pushing_.stop();
  tasks_.reset();
  watch_.reset();
}

/// What the state has of the last hits is there for clients again.
void WeblogService::tell_kept() {
  clients_.keep(keep_);
  clients_.backlog().start(state_->hits - std::min<std::uint64_t>(state_->hits, state_->kept.size()));
  HitBatch kept;
  for (const std::string& line : state_->kept) kept.take(line, 0);
  clients_.add(std::move(kept.xml), std::move(kept.ends));
}

// --- following ----------------------------------------------------------------------------------------------------

net::Deferred<void> WeblogService::follow() {
  for (;;) {
    LogLook look = next_look();
    Result<LogSeen> seen = co_await net::defer_to_thread(*reactor_, look);
    if (!seen) {
      say(LogLevel::error, seen.error().message);
      Result<void> waited = co_await net::sleep_for(*reactor_, kRetryMs);
      if (!waited) co_return;
      continue;
    }
    ++looks_;
    while (!take_in(*seen)) {
      Result<void> waited = co_await net::sleep_for(*reactor_, kRetryMs);
      if (!waited) co_return;
    }
    const bool more = seen->more;
    if (!more || clients_.crowded()) {
      const std::uint64_t pause_ms = more ? kPaceMs : kGatherMs;
      Result<void> waited = co_await net::sleep_for(*reactor_, pause_ms);
      if (!waited) co_return;
    }
    if (!more && !changed_) {
      Result<void> waited = co_await wait_for_change();
      if (!waited && net::is_cancelled(waited.error())) co_return;
    }
  }
}

/// Something has happened to the log, or so much time has passed that it is looked at anyway.
net::Deferred<void> WeblogService::wait_for_change() {
  change_.emplace();
  return net::with_timeout(*reactor_, poll_every_ms_, change_->deferred());
}

void WeblogService::changed() {
  changed_ = true;
  if (!change_) return;
  net::DeferredSource<void> change = std::move(*change_);
  change_.reset();
  change.callback();
}

LogLook WeblogService::next_look() {
  if (watch_ != nullptr && watch_->over()) watch_.reset();
  if (watch_ == nullptr) {
    Result<std::unique_ptr<net::DirectoryWatch>> watch =
        net::DirectoryWatch::open(*reactor_, path_, [this] { changed(); });
    if (watch) watch_ = std::move(watch).value();
    else if (!std::exchange(unwatched_, true)) {
      say(LogLevel::warning, watch.error().message + "; the log is looked at every " + duration_text(poll_every_ms_));
    }
  }
  // Before the look: what changes during it is looked at again.
  changed_ = false;
  LogLook look;
  look.path = path_;
  look.files = files_;
  look.now_ms = reactor_->now_ms();
  look.keep = keep_;
  look.skip_old = !std::exchange(looked_, true) && state_->files.empty() && !from_start_;
  return look;
}

/// False: there is no room on the disk for the record of it, nothing has changed.
bool WeblogService::take_in(LogSeen& seen) {
  HitsRead read;
  for (const LogFile& file : seen.files) read.files.push_back(file.place);
  read.hits = seen.hits.ends.size();
  read.malformed = seen.hits.malformed;
  read.keep = keep_;
  read.lines.assign(seen.hits.lines.begin(), seen.hits.lines.end());
  if (read.hits != 0 || read.malformed != 0 || read.files != state_->files) {
    try {
      state_.record(read);
    } catch (const net::Refusal& refusal) {
      if (!std::exchange(full_, true)) say(LogLevel::warning, std::string("no more hits are told: ") + refusal.what());
      return false;
    }
    if (std::exchange(full_, false)) say(LogLevel::info, "hits are told again");
  }
  tell(seen);
  files_ = std::move(seen.files);
  return true;
}

void WeblogService::tell(LogSeen& seen) {
  for (const std::string& note : seen.notes) say(LogLevel::warning, note);
  if (seen.trouble != trouble_ && !seen.trouble.empty()) say(LogLevel::warning, seen.trouble);
  trouble_ = seen.trouble;
  rotations_ += seen.rotations;
  cuts_ += seen.cuts;
  unpushed_ += seen.hits.xml.size();
  clients_.add(std::move(seen.hits.xml), std::move(seen.hits.ends));
  if (clients_.pull() || unpushed_ < kPushBytes) return;
  unpushed_ = 0;
  clients_.push();
}

std::vector<std::string> WeblogService::status() const {
  const Backlog& backlog = clients_.backlog();
  std::vector<std::string> lines;
  lines.push_back(path_ + ": " + std::to_string(state_->hits) + " hits, " + std::to_string(state_->malformed) +
                  " malformed lines, " + std::to_string(state_->files.size()) + " files followed, " +
                  std::to_string(rotations_) + " rotations, " + std::to_string(cuts_) + " cuts, " +
                  std::to_string(looks_) + " looks" + (watch_ == nullptr ? ", not watched" : "") +
                  (trouble_.empty() ? "" : ", " + trouble_));
  lines.push_back(std::to_string(clients_.count()) + " clients, " + std::to_string(clients_.requests()) +
                  " requests, " + std::to_string(backlog.end() - backlog.begin()) + " hits in " +
                  size_text(backlog.bytes()) + " kept for them, " + std::to_string(clients_.too_slow()) +
                  " were too slow");
  if (!clients_.pull()) lines.push_back(pushing_.status().front());
  return lines;
}

// --- the kind -----------------------------------------------------------------------------------------------------

Result<void> check_interval(const std::string& text) {
  constexpr std::uint64_t kLeastMs = 10;
  constexpr std::uint64_t kMostMs = 24ULL * 3600 * 1000;
  const std::uint64_t ms = parse_duration_ms(text).value_or(0);
  if (ms >= kLeastMs && ms <= kMostMs) return {};
  return Error{Fault::config, "'" + text + "' is not between 10ms and 1d"};
}

Result<void> check_keep(const std::string& text) {
  if (parse_count(text).value_or(kKeepMax + 1) <= kKeepMax) return {};
  return Error{Fault::config, "'" + text + "' is more than " + std::to_string(kKeepMax)};
}

Result<void> check_backlog(const std::string& text) {
  constexpr std::uint64_t kLeast = std::uint64_t{4} * kPushBytes;  // a push comes long before anything is forgotten
  constexpr std::uint64_t kMost = std::uint64_t{1} << 30U;
  const std::uint64_t bytes = parse_size_bytes(text).value_or(0);
  if (bytes >= kLeast && bytes <= kMost) return {};
  return Error{Fault::config, "'" + text + "' is not between 4MiB and 1GiB"};
}

Result<void> check_path(const std::string& text) {
  if (text.back() != '/' && text.find('\0') == std::string::npos) return {};
  return Error{Fault::config, "'" + text + "' is not the path of a file"};
}

}  // namespace
}  // namespace weblog

Kind weblog_kind() {
  using Type = OptionSpec::Type;
  Kind kind;
  kind.name = "weblog";
  kind.summary = "follows a web server's log (combined format) and tells its hits to clients as XML";
  kind.options = {
      {"mode",
       Type::choice,
       {"push", "pull"},
       "push",
       "push: all clients get new hits; pull: whoever sends something does"},
      {"log",
       Type::text,
       {},
       "/var/log/nginx/access.log",
       "the file that the web server writes",
       true,
       weblog::check_path},
      {"poll_every",
       Type::duration,
       {},
       "1s",
       "how often the log is looked at when nothing tells that it has changed",
       false,
       weblog::check_interval},
      {"push_every", Type::duration, {}, "5s", "how often new hits are pushed", false, weblog::check_interval},
      {"keep",
       Type::count,
       {},
       "100",
       "so many of the last hits are kept, and given to a client that is new",
       false,
       weblog::check_keep},
      {"from_start", Type::boolean, {}, "false", "tell also what the log holds when it is followed for the first time"},
      {"backlog",
       Type::size,
       {},
       "16MiB",
       "what is kept for clients that have not got it yet, for all together; who is further behind is ended",
       false,
       weblog::check_backlog},
  };
  kind.state = &weblog::weblog_codec();
  kind.create = [](const Options& options) { return std::make_unique<weblog::WeblogService>(options); };
  return kind;
}

}  // namespace tap::services
