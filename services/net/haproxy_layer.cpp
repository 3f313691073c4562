#include "services/net/haproxy_layer.hpp"

#include "services/net/proxy_header.hpp"

namespace tap::net {

void HaproxyLayer::connection_made() {
  expect_within(kHeaderWithinMs, "no PROXY header came within " + std::to_string(kHeaderWithinMs) + " ms");
}

void HaproxyLayer::consume(std::string_view& data) {
  if (!opened()) {
    const std::size_t before = header_.size();
    header_.append(data.substr(0, ProxyHeader::kVersion2BytesMax - before));
    Result<std::optional<ProxyHeader>> header = parse_proxy_header(header_);
    if (!header) {
      data = {};
      transport().fail(header.error().message);
      return;
    }
    if (!*header) {
      data = {};
      return;
    }
    data.remove_prefix((*header)->size - before);
    source_ = std::move((*header)->source);
    header_ = std::string();
    if (!open_above()) return;
  }
  if (paused() || data.empty()) return;
  const std::string_view all = std::exchange(data, {});
  deliver(all);
}

/// A health check connects and says nothing; that is no news.
void HaproxyLayer::end_received() {
  if (opened()) Layer::end_received();
  else if (header_.empty()) transport().lose_connection();
  else transport().fail("the connection ended within the PROXY header");
}

void HaproxyLayer::fail(std::string_view why) {
  transport().fail(source_.empty() ? std::string(why) : std::string(why) + " (for the client " + source_ + ")");
}

std::string HaproxyLayer::peer() const { return source_.empty() ? transport().peer() : source_; }

}  // namespace tap::net
