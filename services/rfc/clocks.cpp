#include "services/rfc/clocks.hpp"

#include <ctime>

#include "services/rfc/answering_service.hpp"

namespace tap::services {
namespace {

constexpr std::uint64_t kUsPerSecond = 1'000'000;
/// From 1900 to 1970: 70 years, 17 of them leap years (RFC 868 gives the number).
constexpr std::uint64_t kSeconds1900To1970 = 2'208'988'800;

/// The time, as one of these kinds says it.
using Wording = std::string (*)(std::uint64_t us_since_1970);

class TellsTime final : public net::Protocol {
 public:
  explicit TellsTime(std::string time) : time_(std::move(time)) {}

  void connection_made() override {
    transport().write(time_);
    transport().lose_connection();
  }
  void data_received(std::string_view /*data*/) override {}

 private:
  std::string time_;
};

class ClockService final : public AnsweringService {
 public:
  ClockService(const Options& options, WallClock clock, Wording wording)
      : AnsweringService(options), clock_(std::move(clock)), wording_(wording) {}

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    return std::make_unique<TellsTime>(wording_(clock_()));
  }

 private:
  [[nodiscard]] std::string answer(std::string_view /*request*/) override { return wording_(clock_()); }

  WallClock clock_;
  Wording wording_;
};

Kind clock_kind(const char* name, const char* summary, WallClock clock, Wording wording) {
  Kind kind;
  kind.name = name;
  kind.summary = summary;
  kind.options = answering_options();
  kind.speaks_datagrams = true;
  kind.create = [clock = std::move(clock), wording](const Options& options) {
    return std::make_unique<ClockService>(options, clock, wording);
  };
  return kind;
}

}  // namespace

std::uint64_t system_wall_clock_us() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kUsPerSecond + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

std::string greeting_text(std::uint64_t us_since_1970) {
  const std::string fraction = std::to_string(us_since_1970 % kUsPerSecond);
  return "Hello. The time is " + std::to_string(us_since_1970 / kUsPerSecond) + "." +
         std::string(6 - fraction.size(), '0') + fraction;
}

std::string daytime_text(std::uint64_t us_since_1970) {
  const auto seconds = static_cast<std::time_t>(us_since_1970 / kUsPerSecond);
  std::tm utc{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "?\r\n";
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y\r\n", &utc)};
}

std::string time868_bytes(std::uint64_t us_since_1970) {
  const auto seconds = static_cast<std::uint32_t>(us_since_1970 / kUsPerSecond + kSeconds1900To1970);
  std::string bytes;
  for (const unsigned shift : {24U, 16U, 8U, 0U})
    bytes += static_cast<char>(static_cast<unsigned char>(seconds >> shift));
  return bytes;
}

Kind time_kind(WallClock clock) {
  return clock_kind("time", "greets with the time, in seconds since 1970", std::move(clock), greeting_text);
}

Kind daytime_kind(WallClock clock) {
  return clock_kind("daytime", "tells date and time as people write them, UTC (RFC 867)", std::move(clock),
                    daytime_text);
}

Kind time868_kind(WallClock clock) {
  return clock_kind("time868", "tells the time as four bytes, seconds since 1900 (RFC 868)", std::move(clock),
                    time868_bytes);
}

}  // namespace tap::services
