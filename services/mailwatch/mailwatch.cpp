#include "services/mailwatch/mailwatch.hpp"

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/mailwatch/mail_file.hpp"
#include "services/net/deferred_tools.hpp"
#include "services/net/pool.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

using Mail = std::shared_ptr<const std::string>;  // one for all who wait for it

class MailWatch final : public Service {
 public:
  explicit MailWatch(const Options& options)
      : timeout_ms(options.duration_ms("timeout")),
        path_(options.path("path")),
        poll_every_ms_(options.duration_ms("poll_every")) {}

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  void stop() override { looking_ = {}; }
  [[nodiscard]] std::vector<std::string> status() const override;

  /// The mail, now or when it comes. Dropping the Deferred is to wait no longer.
  net::Deferred<Mail> mail() {
    net::DeferredSource<Mail> source;
    net::Deferred<Mail> answer = source.deferred();
    waiting_.push_back(std::move(source));
    if (looking_.done()) looking_ = look();
    return answer;
  }

  const std::uint64_t timeout_ms;
  net::Reactor* reactor = nullptr;
  std::uint64_t told = 0;
  std::uint64_t timed_out = 0;

 private:
  net::Deferred<void> look();
  void answer(const Result<std::string>& mail);

  std::string path_;
  std::uint64_t poll_every_ms_;
  std::vector<net::DeferredSource<Mail>> waiting_;
  net::Deferred<void> looking_;
  std::uint64_t looks_ = 0;
  std::string who_;
  std::string trouble_;  ///< what was said in the log last
};

/// Looks for the file as long as somebody waits for it. The sequence reads as it happens; nothing blocks meanwhile.
net::Deferred<void> MailWatch::look() {
  std::string before;
  while (!waiting_.empty()) {
    ++looks_;
    auto read = [path = path_] { return read_mail(path); };
    Result<std::string> mail = co_await net::defer_to_thread(*reactor, read);
    const bool there = mail.ok() && !mail->empty();
    const bool whole = there && (mail->back() == '\n' || *mail == before);
    const bool missing = !mail.ok() && mail.error().fault == Fault::no_input;
    if (whole || (!mail.ok() && !missing)) {
      answer(mail);
      continue;
    }
    before = mail.ok() ? std::move(mail).value() : "";
    Result<void> slept = co_await net::sleep_for(*reactor, poll_every_ms_);
    if (!slept) co_return;
    std::erase_if(waiting_, [](const auto& source) { return !source.waited_for(); });
  }
}

void MailWatch::answer(const Result<std::string>& mail) {
  std::vector<net::DeferredSource<Mail>> told_now = std::move(waiting_);
  waiting_.clear();
  const std::string trouble = mail.ok() ? "" : mail.error().message;
  if (std::exchange(trouble_, trouble) != trouble && !mail.ok()) reactor->log().write(LogLevel::warning, who_, trouble);
  const Mail shared = mail.ok() ? std::make_shared<const std::string>(*mail) : nullptr;
  for (net::DeferredSource<Mail>& source : told_now) {
    if (shared != nullptr) source.callback(shared);
    else source.errback(mail.error());
  }
}

/// One who waits. The coroutine lives in `serving_`: when the client leaves, it is dropped where it is, timer and all.
class Subscriber final : public net::Protocol {
 public:
  explicit Subscriber(MailWatch& watch) : watch_(watch) {}

  void connection_made() override { serving_ = serve(); }
  void data_received(std::string_view /*data*/) override {}
  void output_drained() override { drained_.callback(); }
  void connection_lost(const Error& /*reason*/) override { serving_ = {}; }
  void service_stops() override {
    if (!telling_) transport().lose_connection();
  }
  [[nodiscard]] bool owes_answer() const override { return telling_; }

 private:
  net::Deferred<void> serve() {
    net::Deferred<Mail> waiting = watch_.mail();
    if (watch_.timeout_ms != 0) waiting = net::with_timeout(*watch_.reactor, watch_.timeout_ms, std::move(waiting));
    Result<Mail> mail = co_await std::move(waiting);
    telling_ = true;
    if (!mail) transport().write("error: " + reason(mail.error()) + "\n");
    for (std::size_t at = 0; mail.ok() && at < (*mail)->size();) {
      const std::size_t end = (*mail)->find('\n', at);
      const std::string_view line = std::string_view(**mail).substr(at, end - at);
      transport().write(std::string(line) + "\n");
      at += line.size() + 1;
      if (!transport().congested()) continue;
      drained_ = {};
      Result<void> room = co_await drained_.deferred();
      if (!room) co_return;
    }
    if (mail.ok()) ++watch_.told;
    telling_ = false;
    transport().lose_connection();
  }

  [[nodiscard]] std::string reason(const Error& error) {
    if (error.os_code != ETIMEDOUT) return "the mail cannot be read";
    ++watch_.timed_out;
    return "no mail within " + duration_text(watch_.timeout_ms);
  }

  MailWatch& watch_;
  net::Deferred<void> serving_;
  net::DeferredSource<void> drained_;
  bool telling_ = false;
};

std::unique_ptr<net::Protocol> MailWatch::build_protocol() { return std::make_unique<Subscriber>(*this); }

Result<void> MailWatch::start(net::Reactor& its) {
  reactor = &its;
  who_ = its.name_of(its.charged());
  return {};
}

std::vector<std::string> MailWatch::status() const {
  return {path_ + ": " + std::to_string(waiting_.size()) + " wait, " + std::to_string(told) + " told, " +
          std::to_string(timed_out) + " timed out, " + std::to_string(looks_) + " looks"};
}

Result<void> check_interval(const std::string& text) {
  if (parse_duration_ms(text).value_or(0) >= 10) return {};
  return Error{Fault::config, "'" + text + "' is less than 10ms"};
}

}  // namespace

Kind mailwatch_kind() {
  Kind kind;
  kind.name = "mailwatch";
  kind.summary = "waits for a file to appear and tells its lines to all who wait";
  kind.options = {
      {"path", OptionSpec::Type::text, {}, "/var/mail/me", "the file that is waited for", true},
      {"poll_every", OptionSpec::Type::duration, {}, "1s", "how often it is looked for", false, check_interval},
      {"timeout", OptionSpec::Type::duration, {}, "0", "how long a client waits at most; 0: without end"},
  };
  kind.create = [](const Options& options) { return std::make_unique<MailWatch>(options); };
  return kind;
}

}  // namespace tap::services
