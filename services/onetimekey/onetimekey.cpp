#include "services/onetimekey/onetimekey.hpp"

#include <limits>

#include "services/net/refusal.hpp"
#include "services/onetimekey/state.hpp"

namespace tap::services {
namespace {

class OneTimeKeyService final : public Service {
 public:
  explicit OneTimeKeyService(const Options& options) : start_(options.count("start")) {}

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;

  std::uint64_t next() {
    const std::uint64_t key = state_->given == 0 ? start_ : state_->next;
    // The number after it has to be one too.
    if (key == std::numeric_limits<std::uint64_t>::max()) throw net::Refusal("the numbers are used up");
    state_.record(KeyGiven{key});
    return key;
  }

 private:
  StateCell<OneTimeKeyState> state_{onetimekey_codec()};
  std::uint64_t start_;
};

class OneTimeKey final : public net::Protocol {
 public:
  explicit OneTimeKey(OneTimeKeyService& service) : service_(service) {}

  void connection_made() override {
    transport().write(std::to_string(service_.next()) + "\n");
    transport().lose_connection();
  }
  void data_received(std::string_view /*data*/) override {}

 private:
  OneTimeKeyService& service_;
};

std::unique_ptr<net::Protocol> OneTimeKeyService::build_protocol() { return std::make_unique<OneTimeKey>(*this); }

}  // namespace

Kind onetimekey_kind() {
  Kind kind;
  kind.name = "onetimekey";
  kind.summary = "gives every connection one number, never the same twice, and ends it";
  kind.options = {{"start", OptionSpec::Type::count, {}, "0", "the first number of all; one more every time"}};
  kind.state = &onetimekey_codec();
  kind.create = [](const Options& options) { return std::make_unique<OneTimeKeyService>(options); };
  return kind;
}

}  // namespace tap::services
