// Our own kinds under the crash runner; and kinds that break their promise, each of which has to be found.
#include "services/testing/crash_runner.hpp"

#include <doctest/doctest.h>

#include "services/echo/echo.hpp"
#include "services/fibonacci/fibonacci.hpp"
#include "services/net/line_protocol.hpp"
#include "services/onetimekey/onetimekey.hpp"
#include "services/onetimekey/state.hpp"
#include "services/sequence/sequence.hpp"
#include "services/testing/test_application.hpp"

using namespace tap;
using namespace tap::services;
using namespace tap::testing;

namespace {

std::vector<std::string> times(std::size_t count, const std::string& request) {
  return std::vector<std::string>(count, request);
}

void keeps_its_promise(const Kind& kind, const CrashScript& script, std::uint64_t moments_min) {
  const CrashReport report = crash_at_every_write(kind, script);
  CHECK_MESSAGE(report.ok(), report.text());
  CHECK(report.moments >= moments_min);
  CHECK(report.states > report.moments);
  MESSAGE(kind.name << ", " << script.durability << ": " << report.text());
}

/// A counter with one mistake.
enum class Mistake : std::uint8_t { none, changes_silently, answers_by_itself };

class WrongService final : public Service {
 public:
  explicit WrongService(Mistake mistake) : mistake_(mistake) {}
  [[nodiscard]] StatePort* state() override { return &cell_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Lines>(*this); }

 private:
  class Lines final : public net::LineProtocol {
   public:
    explicit Lines(WrongService& service) : service_(service) {}

   private:
    void line_received(std::string_view /*line*/) override { send_line(std::to_string(service_.next())); }
    WrongService& service_;
  };

  std::uint64_t next() {
    const std::uint64_t key = mistake_ == Mistake::answers_by_itself ? ++own_ : cell_->next + 1;
    cell_.record(KeyGiven{key});
    if (mistake_ == Mistake::changes_silently) const_cast<OneTimeKeyState&>(*cell_).given += 10;
    return key;
  }

  StateCell<OneTimeKeyState> cell_{onetimekey_codec()};
  Mistake mistake_;
  std::uint64_t own_ = 0;  // what the state should have
};

Kind wrong_kind(Mistake mistake) {
  Kind kind;
  kind.name = "wrong";
  kind.state = &onetimekey_codec();
  kind.create = [mistake](const Options&) { return std::make_unique<WrongService>(mistake); };
  return kind;
}

std::string first_broken(const CrashReport& report) { return report.broken.empty() ? "" : report.broken.front(); }

}  // namespace

TEST_CASE("crash runner: fibonacci loses and repeats no number") {
  keeps_its_promise(fibonacci_kind(), {.requests = times(12, "next\n"), .options = {{"framing", "line"}}}, 20);
  keeps_its_promise(fibonacci_kind(), {.requests = times(12, "next\n"), .options = {{"framing", "line"}}, .at_once = 5},
                    12);
}

TEST_CASE("crash runner: onetimekey gives no key twice, each to a connection of its own") {
  keeps_its_promise(onetimekey_kind(), {.requests = times(8, ""), .connection_each = true}, 16);
}

TEST_CASE("crash runner: sequence keeps its counters, by each durability") {
  const std::vector<std::string> mixed{"NEXT a\n", "NEXT b 3\n", "PEEK a\n", "NEXT a\n", "NEXT b\n", "LIST\n"};
  keeps_its_promise(sequence_kind(), {.requests = mixed}, 15);
  keeps_its_promise(sequence_kind(), {.requests = mixed, .durability = "interval:100ms", .pause_ms = 40}, 15);
  keeps_its_promise(sequence_kind(), {.requests = mixed, .durability = "shutdown"}, 5);
}

TEST_CASE("crash runner: sequence with reserve skips numbers perhaps, and repeats none") {
  keeps_its_promise(sequence_kind(),
                    {.requests = times(20, "NEXT a\n"), .durability = "reserve", .options = {{"reserve_block", "3"}}},
                    12);
}

TEST_CASE("crash runner: a service without mistake passes, one that changes its state beside the journal is found") {
  const CrashScript script{.requests = times(6, "x\n")};
  const CrashReport right = crash_at_every_write(wrong_kind(Mistake::none), script);
  CHECK_MESSAGE(right.ok(), right.text());
  const CrashReport silent = crash_at_every_write(wrong_kind(Mistake::changes_silently), script);
  CHECK_FALSE(silent.ok());
  CHECK_MESSAGE(first_broken(silent).find("the recovered state is none of those") != std::string::npos, silent.text());
  const CrashReport by_itself = crash_at_every_write(wrong_kind(Mistake::answers_by_itself), script);
  CHECK_FALSE(by_itself.ok());
  CHECK_MESSAGE(first_broken(by_itself).find("which should be") != std::string::npos, by_itself.text());
  CHECK(by_itself.broken.size() == CrashReport::kBrokenMax);
}

TEST_CASE("crash runner: a reserve that repeats a number is found") {
  const CrashReport report = crash_at_every_write(wrong_kind(Mistake::answers_by_itself),
                                                  {.requests = times(6, "x\n"), .durability = "reserve"});
  CHECK_FALSE(report.ok());
  CHECK_MESSAGE(first_broken(report).find("was seen before") != std::string::npos, report.text());
}

TEST_CASE("crash runner: scripts that prove nothing are refused") {
  const auto refusal = [](const Kind& kind, const CrashScript& script) {
    const CrashReport report = crash_at_every_write(kind, script);
    CHECK_FALSE(report.ok());
    return first_broken(report);
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(has(refusal(echo_kind(), {.requests = {"x\n"}}), "has no state to lose"));
  CHECK(has(refusal(sequence_kind(), {}), "it has no requests"));
  CHECK(has(refusal(sequence_kind(), {.requests = times(501, "LIST\n")}), "more than 500 requests"));
  CHECK(has(refusal(sequence_kind(), {.requests = {"NEXT"}}), "nothing was answered"));
  CHECK(has(refusal(sequence_kind(), {.requests = {"LIST\n"}, .durability = "lax"}), "'lax' is not a durability"));
  CHECK(has(refusal(sequence_kind(), {.requests = {"LIST\n", "LIST\n"}, .durability = "reserve"}),
            "all answers have to be different"));
  CHECK(has(refusal(sequence_kind(), {.requests = {"LIST\n"}, .options = {{"no", "such"}}}), "has no option 'no'"));
}

TEST_CASE("test application: what one process was asked the next one knows, after a clean end and after a kill") {
  SimulatedDisk disk;
  const Kind kind = sequence_kind();
  for (int life = 1; life <= 3; ++life) {
    Result<std::unique_ptr<TestApplication>> application = TestApplication::start(disk, kind);
    REQUIRE_MESSAGE(application.ok(), (application.ok() ? "" : application.error().message));
    Result<std::unique_ptr<TestClient>> client = (*application)->connect();
    REQUIRE(client.ok());
    REQUIRE((*client)->send("NEXT a\n").ok());
    CHECK((*application)->loop().turn_until([&] { return (*client)->read_now(); }));
    CHECK((*client)->received() == std::to_string(life) + "\n");
    CHECK_FALSE((*client)->ended());
    CHECK_FALSE((*application)->outgrown());
    if (life == 1) CHECK((*application)->stop().ok());
  }
}
