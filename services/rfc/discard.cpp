#include "services/rfc/discard.hpp"

namespace tap::services {
namespace {

class Discards final : public net::Protocol {
 public:
  void data_received(std::string_view /*data*/) override {}
};

class DiscardsDatagrams final : public net::DatagramProtocol {
 public:
  void datagram_received(std::string_view /*datagram*/, const net::DatagramAddress& /*from*/) override {}
};

class DiscardService final : public Service {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Discards>(); }
  [[nodiscard]] std::unique_ptr<net::DatagramProtocol> build_datagram_protocol() override {
    return std::make_unique<DiscardsDatagrams>();
  }
};

}  // namespace

Kind discard_kind() {
  Kind kind;
  kind.name = "discard";
  kind.summary = "takes everything and answers nothing (RFC 863)";
  kind.speaks_datagrams = true;
  kind.create = [](const Options&) { return std::make_unique<DiscardService>(); };
  return kind;
}

}  // namespace tap::services
