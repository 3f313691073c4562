#include "services/echo/echo.hpp"

namespace tap::services {
namespace {

class Echo final : public net::Protocol {
 public:
  void data_received(std::string_view data) override { transport().write(data); }
};

class EchoService final : public Service {
 public:
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Echo>(); }
};

}  // namespace

Kind echo_kind() {
  Kind kind;
  kind.name = "echo";
  kind.summary = "sends back what it receives (RFC 862)";
  kind.create = [](const Options&) { return std::make_unique<EchoService>(); };
  return kind;
}

}  // namespace tap::services
