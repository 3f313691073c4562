#include "services/fibonacci/fibonacci.hpp"

#include "services/fibonacci/state.hpp"
#include "services/net/line_protocol.hpp"

namespace tap::services {
namespace {

class FibonacciService final : public Service {
 public:
  explicit FibonacciService(const Options& options) : lines_(options.text("framing") == "line") {}

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;

  /// The next number's digits. The view lasts until the next call.
  std::string_view next() {
    state_.record(Advanced{});
    digits_.clear();
    state_->b.print(digits_);
    return digits_;
  }

 private:
  StateCell<FibonacciState> state_{fibonacci_codec()};
  std::string digits_;
  bool lines_;
};

/// framing = "none", as in the article: whatever one read delivers is one request.
class AnyBytes final : public net::Protocol {
 public:
  explicit AnyBytes(FibonacciService& service) : service_(service) {}
  void data_received(std::string_view /*data*/) override { transport().write(service_.next()); }

 private:
  FibonacciService& service_;
};

/// framing = "line": each line is one request.
class Lines final : public net::LineProtocol {
 public:
  explicit Lines(FibonacciService& service) : service_(service) {}

 private:
  void line_received(std::string_view /*line*/) override { send_line(service_.next()); }

  FibonacciService& service_;
};

std::unique_ptr<net::Protocol> FibonacciService::build_protocol() {
  if (lines_) return std::make_unique<Lines>(*this);
  return std::make_unique<AnyBytes>(*this);
}

}  // namespace

Kind fibonacci_kind() {
  Kind kind;
  kind.name = "fibonacci";
  kind.summary = "gives the Fibonacci numbers 2, 3, 5, 8, ... one a request, each to one client only";
  kind.options = {{"framing",
                   OptionSpec::Type::choice,
                   {"none", "line"},
                   "none",
                   "what a request is: whatever one read delivers (the answer is the digits and nothing else), or a "
                   "line (the answer ends in a newline; requests may be pipelined)"}};
  kind.state = &fibonacci_codec();
  kind.create = [](const Options& options) { return std::make_unique<FibonacciService>(options); };
  return kind;
}

}  // namespace tap::services
