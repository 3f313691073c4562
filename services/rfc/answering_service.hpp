// AnsweringService: a service without a state that answers each datagram with one, within what AnswerGuard allows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/kind.hpp"
#include "services/rfc/answer_guard.hpp"
#include "services/service.hpp"

namespace tap::services {

/// The options that such a kind has: udp_answers, udp_answers_in_all.
[[nodiscard]] std::vector<OptionSpec> answering_options();

/// Thread: the loop's. The limits hold for all ports of the service together.
class AnsweringService : public Service {
 public:
  /// REQUIRES: the kind has answering_options().
  explicit AnsweringService(const Options& options);

  [[nodiscard]] Result<void> start(net::Reactor& reactor) override;
  [[nodiscard]] std::unique_ptr<net::DatagramProtocol> build_datagram_protocol() override;

 protected:
  /// What a datagram is answered with. Never longer than it should be: the sender may be forged.
  [[nodiscard]] virtual std::string answer(std::string_view request) = 0;
  /// REQUIRES: started.
  [[nodiscard]] net::Reactor& reactor() const;

 private:
  class Answers;

  AnswerGuard guard_;
  net::Reactor* reactor_ = nullptr;
};

}  // namespace tap::services
