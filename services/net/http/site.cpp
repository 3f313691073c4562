#include "services/net/http/site.hpp"

#include <cstdio>

namespace tap::net {

void write_http_date(std::time_t when, char* out) {
  // Not strftime(3), whose names of days follow the locale.
  constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  constexpr std::size_t kBytes = 30;
  std::tm utc{};
  ::gmtime_r(&when, &utc);
  std::snprintf(out, kBytes, "%s, %02u %s %04u %02u:%02u:%02u GMT", kDays[static_cast<std::size_t>(utc.tm_wday)],
                static_cast<unsigned>(utc.tm_mday) % 100, kMonths[static_cast<std::size_t>(utc.tm_mon)],
                static_cast<unsigned>(utc.tm_year + 1900) % 10'000, static_cast<unsigned>(utc.tm_hour) % 100,
                static_cast<unsigned>(utc.tm_min) % 100, static_cast<unsigned>(utc.tm_sec) % 100);
}

std::string_view HttpSite::date_line() {
  const std::time_t now = std::time(nullptr);
  if (now != date_of_) {
    date_of_ = now;
    std::string_view("Date: ").copy(date_.data(), 6);
    write_http_date(now, date_.data() + 6);
    date_[kDateLineBytes - 2] = '\r';
    date_[kDateLineBytes - 1] = '\n';
  }
  return {date_.data(), kDateLineBytes};
}

}  // namespace tap::net
