#include "services/rfc/answering_service.hpp"

#include "state/base/assert.hpp"

namespace tap::services {

std::vector<OptionSpec> answering_options() {
  const AnswerGuard::Limits limits;
  return {{"udp_answers",
           OptionSpec::Type::count,
           {},
           std::to_string(limits.per_source),
           "by UDP: so many answers a second to one address (of IPv6: one /64), the rest is not answered"},
          {"udp_answers_in_all",
           OptionSpec::Type::count,
           {},
           std::to_string(limits.in_all),
           "by UDP: so many answers a second to all addresses together"}};
}

class AnsweringService::Answers final : public net::DatagramProtocol {
 public:
  explicit Answers(AnsweringService& service) : service_(service) {}

  void datagram_received(std::string_view datagram, const net::DatagramAddress& from) override {
    const char* refusal = service_.guard_.refusal(from, transport(), service_.reactor().now_ms());
    if (refusal != nullptr) transport().refuse(refusal, from);
    else transport().write(service_.answer(datagram), from);
  }

 private:
  AnsweringService& service_;
};

AnsweringService::AnsweringService(const Options& options)
    : guard_({options.count("udp_answers"), options.count("udp_answers_in_all")}) {}

Result<void> AnsweringService::start(net::Reactor& reactor) {
  reactor_ = &reactor;
  return {};
}

net::Reactor& AnsweringService::reactor() const {
  TAP_ASSERT(reactor_ != nullptr);
  return *reactor_;
}

std::unique_ptr<net::DatagramProtocol> AnsweringService::build_datagram_protocol() {
  return std::make_unique<Answers>(*this);
}

}  // namespace tap::services
