#include "services/rfc/answer_guard.hpp"

#include <algorithm>
#include <random>

namespace tap::services {

bool RateLimit::has_room(std::uint64_t per_second, std::uint64_t now_ms) {
  const auto rate = static_cast<double>(per_second);
  const double gone = rate * static_cast<double>(now_ms - std::min(at_ms_, now_ms)) / 1000;
  taken_ = std::max(0.0, taken_ - gone);
  at_ms_ = now_ms;
  return taken_ + 1 <= rate;
}

AnswerGuard::AnswerGuard(Limits limits) : limits_(limits), sources_(kSourcesMax) {
  std::random_device random;
  seed_ = (std::uint64_t{random()} << 32U) | random();
}

/// The mixing is that of SplitMix64 (Steele, Lea, Flood, 2014), twice, with the seed in between.
RateLimit& AnswerGuard::source(const net::DatagramAddress& from) {
  std::uint64_t mixed = from.network();
  for (int i = 0; i < 2; ++i) {
    mixed += seed_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    mixed ^= mixed >> 31U;
  }
  return sources_[mixed % kSourcesMax];
}

const char* AnswerGuard::refusal(const net::DatagramAddress& from, const net::DatagramTransport& transport,
                                 std::uint64_t now_ms) {
  if (!from.is_one_host()) return kNoHost;
  if (from.port() < kReservedPorts) return kReservedPort;
  if (transport.serves_port(from.port())) return kOwnPort;
  RateLimit& one = source(from);
  if (!one.has_room(limits_.per_source, now_ms)) return kSourceLimit;
  if (!all_.has_room(limits_.in_all, now_ms)) return kTotalLimit;
  one.take();
  all_.take();
  return nullptr;
}

}  // namespace tap::services
