#include "services/echo/echo.hpp"

#include "services/rfc/answering_service.hpp"

namespace tap::services {
namespace {

class Echo final : public net::Protocol {
 public:
  void data_received(std::string_view data) override { transport().write(data); }
};

class EchoService final : public AnsweringService {
 public:
  using AnsweringService::AnsweringService;

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override { return std::make_unique<Echo>(); }

 private:
  [[nodiscard]] std::string answer(std::string_view request) override { return std::string(request); }
};

}  // namespace

Kind echo_kind() {
  Kind kind;
  kind.name = "echo";
  kind.summary = "sends back what it receives (RFC 862)";
  kind.options = answering_options();
  kind.speaks_datagrams = true;
  kind.create = [](const Options& options) { return std::make_unique<EchoService>(options); };
  return kind;
}

}  // namespace tap::services
