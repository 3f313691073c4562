#include "services/testing/crash_runner.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <set>

#include "services/durability.hpp"
#include "services/testing/simulated_disk.hpp"
#include "services/testing/test_application.hpp"

namespace tap::testing {
namespace {

constexpr std::uint64_t kSeed = 1;
/// So many turns after the last byte of an answer nothing more comes of it.
constexpr int kSilentTurns = 3;
/// A request without an answer is given so many.
constexpr int kAnswerTurns = 12;

using Mode = services::Durability::Mode;

/// Clients of one run, and what they have seen.
class Clients {
 public:
  Clients(TestApplication& application, const CrashScript& script) : application_(application), script_(script) {}

  /// Sends requests [sent, until) and gives them the time to be answered. Errors: those of the sockets.
  Result<void> ask(std::size_t until) {
    for (; sent_ < until; ++sent_) {
      if (clients_.empty() || script_.connection_each) {
        Result<std::unique_ptr<TestClient>> client = application_.connect();
        if (!client) return std::move(client).error();
        clients_.push_back(std::move(client).value());
      }
      if (script_.requests[sent_].empty()) continue;
      if (Result<void> sending = clients_.back()->send(script_.requests[sent_]); !sending) {
        return std::move(sending.error()).with("request " + std::to_string(sent_ + 1));
      }
    }
    const std::size_t before = look();
    for (int turns = 0, silent = 0; turns < kAnswerTurns && silent < kSilentTurns; ++turns) {
      application_.loop().turn();
      const std::size_t had = seen_;
      if (look() == had && seen_ > before) ++silent;
    }
    return {};
  }
  /// Bytes that have arrived at any client by now.
  std::size_t look() {
    seen_ = 0;
    for (const auto& client : clients_) {
      client->read_now();
      seen_ += client->received().size();
    }
    return seen_;
  }
  [[nodiscard]] std::string received() const {
    std::string all;
    for (const auto& client : clients_) all += client->received();
    return all;
  }
  [[nodiscard]] std::size_t sent() const { return sent_; }
  /// The script begins anew at a later request, on another process.
  void begin_at(std::size_t request) { sent_ = request; }

 private:
  TestApplication& application_;
  const CrashScript& script_;
  std::vector<std::unique_ptr<TestClient>> clients_;
  std::size_t sent_ = 0;
  std::size_t seen_ = 0;
};

/// What the script does when nothing goes wrong.
struct Reference {
  std::vector<Bytes> states;         ///< after so many requests
  std::vector<std::string> answers;  ///< to each
  std::vector<std::size_t> ends;     ///< bytes of all answers up to this many requests
};

/// A moment at which everything ends.
struct Moment {
  SimulatedDisk disk;
  std::size_t sent = 0;
  std::size_t seen = 0;          ///< requests whose answer was seen, partly at least
  std::size_t seen_earlier = 0;  ///< those of them that an interval may not forget
  bool stopped = false;          ///< the clean end is over
  std::string when;
};

class Run {
 public:
  Run(const services::Kind& kind, const CrashScript& script)
      : kind_(kind), script_(script), service_{script.durability, script.options}, random_(kSeed) {}

  CrashReport run() {
    Result<void> done = check();
    if (done) done = make_reference();
    if (done) done = collect_moments();
    if (!done) broken(done.error().message);
    for (const Moment& moment : moments_) {
      if (report_.broken.size() >= CrashReport::kBrokenMax) break;
      ++report_.moments;
      crash(moment);
    }
    return std::move(report_);
  }

 private:
  void broken(std::string sentence) {
    if (report_.broken.size() < CrashReport::kBrokenMax) report_.broken.push_back(std::move(sentence));
  }
  [[nodiscard]] static Error unfit(const std::string& why) {
    return Error{Fault::usage, "the script is not fit: " + why};
  }

  Result<void> check() {
    Result<services::Durability> durability = services::parse_durability(script_.durability);
    if (!durability) return std::move(durability).error();
    durability_ = *durability;
    if (kind_.state == nullptr) return Error{Fault::usage, "the kind '" + kind_.name + "' has no state to lose"};
    if (script_.requests.empty()) return unfit("it has no requests");
    if (script_.requests.size() > CrashScript::kRequestsMax) {
      return unfit("it has more than " + std::to_string(CrashScript::kRequestsMax) + " requests");
    }
    return {};
  }

  Result<void> make_reference() {
    SimulatedDisk disk;
    Result<std::unique_ptr<TestApplication>> application = TestApplication::start(disk, kind_, service_);
    if (!application) return std::move(application).error();
    Clients clients(**application, script_);
    Result<Bytes> state = (*application)->state();
    if (!state) return std::move(state).error();
    reference_.states.push_back(std::move(state).value());
    reference_.ends.push_back(0);
    for (std::size_t i = 0; i < script_.requests.size(); ++i) {
      if (Result<void> asked = clients.ask(i + 1); !asked) return asked;
      state = (*application)->state();
      if (!state) return std::move(state).error();
      reference_.states.push_back(std::move(state).value());
      const std::string all = clients.received();
      reference_.answers.push_back(all.substr(reference_.ends.back()));
      reference_.ends.push_back(all.size());
      if (script_.pause_ms > 0) (*application)->loop().advance(script_.pause_ms);
    }
    if (reference_.ends.back() == 0) return unfit("nothing was answered");
    if ((*application)->outgrown()) {
      return unfit("it makes the service write more than " + std::to_string(TestApplication::kJournalBytesMax) +
                   " bytes");
    }
    if (durability_.mode != Mode::reserve) return {};
    std::set<std::string> different(reference_.answers.begin(), reference_.answers.end());
    if (different.size() != reference_.answers.size()) return unfit("with 'reserve' all answers have to be different");
    return {};
  }

  /// The requests whose answers were seen, if so many bytes of them were.
  [[nodiscard]] std::size_t answered(std::size_t bytes) const {
    std::size_t requests = 0;
    while (requests < script_.requests.size() && reference_.ends[requests] < bytes) ++requests;
    return requests;
  }

  Result<void> collect_moments() {
    SimulatedDisk disk;
    Clients* clients = nullptr;
    TestApplication* running = nullptr;
    std::vector<std::uint64_t> seen_at_ms;  // by request
    bool stopped = false;
    const auto keep = [&](const std::string& when) {
      Moment moment{disk.after_kill(), 0, 0, 0, stopped, when};
      if (clients != nullptr) {
        moment.sent = clients->sent();
        moment.seen = answered(clients->look());
        const std::uint64_t now = running->loop().clock.now_ms();
        seen_at_ms.resize(std::max(seen_at_ms.size(), moment.seen), now);
        while (moment.seen_earlier < seen_at_ms.size() &&
               seen_at_ms[moment.seen_earlier] + durability_.interval_ms < now) {
          ++moment.seen_earlier;
        }
      }
      moments_.push_back(std::move(moment));
    };
    disk.watch([&] { keep("before change " + std::to_string(disk.changes() + 1) + " of the disk"); });
    Result<std::unique_ptr<TestApplication>> application = TestApplication::start(disk, kind_, service_);
    if (!application) return std::move(application).error();
    running = application->get();
    Clients asking(*running, script_);
    clients = &asking;
    while (asking.sent() < script_.requests.size()) {
      const std::size_t group = std::max<std::size_t>(script_.at_once, 1);
      if (Result<void> asked = asking.ask(std::min(asking.sent() + group, script_.requests.size())); !asked)
        return asked;
      const std::size_t seen = answered(asking.look());
      seen_at_ms.resize(std::max(seen_at_ms.size(), seen), running->loop().clock.now_ms());
      if (script_.pause_ms > 0) running->loop().advance(script_.pause_ms);
    }
    if (asking.received().size() != reference_.ends.back()) {
      return unfit("two runs of it gave different answers");
    }
    keep("after the last answer");
    if (Result<void> ended = running->stop(); !ended) return ended;
    stopped = true;
    keep("after the clean end");
    return {};
  }

  /// Everything that may be left at this moment, recovered.
  void crash(const Moment& moment) {
    try_state(moment.disk.after_kill(), moment, "killed");
    std::vector<std::vector<bool>> all = outcomes(moment.disk.unsynced(), script_.outcomes_max, random_);
    std::shuffle(all.begin(), all.end(), random_);
    if (all.size() > script_.outcomes_max) all.resize(script_.outcomes_max);
    for (const std::vector<bool>& kept : all) {
      const auto count = std::count(kept.begin(), kept.end(), true);
      try_state(
          moment.disk.after_power_cut(kept), moment,
          "a power cut that kept " + std::to_string(count) + " of " + std::to_string(kept.size()) + " unsynced pieces");
    }
  }

  void try_state(SimulatedDisk disk, const Moment& moment, const std::string& how) {
    if (report_.broken.size() >= CrashReport::kBrokenMax) return;
    ++report_.states;
    const Result<void> kept = judge(disk, moment);
    if (!kept) {
      broken(moment.when + " (" + std::to_string(moment.sent) + " requests sent, " + std::to_string(moment.seen) +
             " answers seen), " + how + ": " + kept.error().message);
    }
  }

  /// The fewest requests that may have happened, if so many of their answers were seen.
  [[nodiscard]] std::size_t least(const Moment& moment) const {
    if (moment.stopped) return script_.requests.size();
    switch (durability_.mode) {
      case Mode::strict:
      case Mode::reserve:
        return moment.seen;
      case Mode::interval:
        return moment.seen_earlier;
      case Mode::shutdown:
        break;
    }
    return 0;
  }

  Result<void> judge(SimulatedDisk& disk, const Moment& moment) {
    Result<std::unique_ptr<TestApplication>> application = TestApplication::start(disk, kind_, service_);
    if (!application) return std::move(application.error()).with("the next process cannot recover");
    if (durability_.mode == Mode::reserve) return judge_reserved(**application, moment);
    Result<Bytes> state = (*application)->state();
    if (!state) return std::move(state).error();
    std::size_t happened = least(moment);
    while (happened <= moment.sent && reference_.states[happened] != *state) ++happened;
    if (happened > moment.sent) {
      return Error{Fault::damaged, "the recovered state is none of those after request " +
                                       std::to_string(least(moment)) + " to " + std::to_string(moment.sent) + ": " +
                                       closest(*state)};
    }
    return judge_rest(**application, happened);
  }

  [[nodiscard]] std::string closest(const Bytes& state) const {
    for (std::size_t i = 0; i < reference_.states.size(); ++i) {
      if (reference_.states[i] == state)
        return "it is the one after request " + std::to_string(i) + ", so something was lost";
    }
    return "no request of the script leads to it";
  }

  Result<void> judge_rest(TestApplication& application, std::size_t happened) {
    Clients clients(application, script_);
    clients.begin_at(happened);
    std::string expected;
    for (std::size_t i = happened; i < script_.requests.size(); ++i) {
      expected += reference_.answers[i];
      if (Result<void> asked = clients.ask(i + 1); !asked) return asked;
    }
    if (clients.received() == expected) return {};
    return Error{Fault::damaged, "the requests after " + std::to_string(happened) + " are answered '" +
                                     clients.received() + "', which should be '" + expected + "'"};
  }

  Result<void> judge_reserved(TestApplication& application, const Moment& moment) {
    const std::set<std::string> seen(reference_.answers.begin(),
                                     reference_.answers.begin() + static_cast<std::ptrdiff_t>(moment.seen));
    Clients clients(application, script_);
    for (std::size_t i = 0, before = 0; i < script_.requests.size(); ++i) {
      if (Result<void> asked = clients.ask(i + 1); !asked) return asked;
      const std::string answer = clients.received().substr(before);
      before += answer.size();
      if (seen.count(answer) != 0) return Error{Fault::damaged, "the answer '" + answer + "' was seen before"};
    }
    return {};
  }

  const services::Kind& kind_;
  const CrashScript& script_;
  TestedService service_;
  services::Durability durability_;
  Reference reference_;
  std::vector<Moment> moments_;
  CrashReport report_;
  std::mt19937_64 random_;
};

}  // namespace

std::string CrashReport::text() const {
  if (ok()) {
    return "kept its promise in " + std::to_string(states) + " states left by crashes at " + std::to_string(moments) +
           " moments";
  }
  std::string lines = "broke its promise:";
  for (const std::string& sentence : broken) lines += "\n  " + sentence;
  return lines;
}

CrashReport crash_at_every_write(const services::Kind& kind, const CrashScript& script) {
  return Run(kind, script).run();
}

}  // namespace tap::testing
