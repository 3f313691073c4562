#include "services/rfc/chargen.hpp"

#include <algorithm>

#include "services/rfc/answering_service.hpp"

namespace tap::services {
namespace {

constexpr unsigned kPrinting = 95;  // from ' ' to '~'
/// A client gets its share of a second in so many pieces.
constexpr std::uint64_t kPiecesPerSecond = 10;
constexpr std::uint64_t kPieceMs = 1000 / kPiecesPerSecond;

class Chargen final : public net::Protocol {
 public:
  Chargen(net::Reactor& reactor, std::uint64_t rate) : reactor_(reactor), rate_(rate), filled_ms_(reactor.now_ms()) {
    budget_ = burst();
  }

  void connection_made() override { generate(); }
  void data_received(std::string_view /*data*/) override {}
  void output_drained() override { generate(); }
  void service_stops() override { transport().lose_connection(); }
  void connection_lost(const Error& /*reason*/) override { next_piece_.cancel(); }

 private:
  [[nodiscard]] std::uint64_t burst() const {
    return std::max<std::uint64_t>(rate_ / kPiecesPerSecond, kChargenLineBytes);
  }

  /// As much as the budget and the peer allow; then either output_drained() or the timer comes back here.
  void generate() {
    if (transport().ending()) return;
    const std::uint64_t now = reactor_.now_ms();
    const std::uint64_t elapsed_ms = std::min<std::uint64_t>(now - filled_ms_, 1000);
    budget_ = std::min(burst(), budget_ + rate_ * elapsed_ms / 1000);
    filled_ms_ = now;
    while (budget_ >= kChargenLineBytes) {
      if (transport().congested()) return;
      transport().write(chargen_line(line_++));
      budget_ -= kChargenLineBytes;
    }
    next_piece_ = reactor_.call_later(kPieceMs, [this] { generate(); });
  }

  net::Reactor& reactor_;
  std::uint64_t rate_;    ///< bytes per second
  std::uint64_t budget_;  ///< bytes that may be written now
  std::uint64_t filled_ms_;
  std::uint64_t line_ = 0;
  net::Timer next_piece_;
};

class ChargenService final : public AnsweringService {
 public:
  explicit ChargenService(const Options& options)
      : AnsweringService(options),
        rate_(std::clamp<std::uint64_t>(options.size_bytes("rate"), kChargenLineBytes, kChargenRateMax)) {}

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    return std::make_unique<Chargen>(reactor(), rate_);
  }

 private:
  [[nodiscard]] std::string answer(std::string_view request) override {
    const std::size_t size = std::min(request.size(), kChargenDatagramBytesMax);
    std::string text;
    for (std::uint64_t number = 0; text.size() < size; ++number) text += chargen_line(number);
    text.resize(size);
    return text;
  }

  std::uint64_t rate_;
};

}  // namespace

std::string chargen_line(std::uint64_t number) {
  std::string line;
  line.reserve(kChargenLineBytes);
  const auto first = static_cast<unsigned>(number % kPrinting);
  for (unsigned i = 0; i < kChargenLineBytes - 2; ++i) line += static_cast<char>(' ' + (first + i) % kPrinting);
  return line + "\r\n";
}

Kind chargen_kind() {
  Kind kind;
  kind.name = "chargen";
  kind.summary = "sends characters until the client has enough (RFC 864)";
  kind.options = answering_options();
  kind.options.push_back({"rate",
                          OptionSpec::Type::size,
                          {},
                          "64KiB",
                          "by TCP: so many bytes a second to one client, at least a line of 74 and at most 1GiB"});
  kind.speaks_datagrams = true;
  kind.create = [](const Options& options) { return std::make_unique<ChargenService>(options); };
  return kind;
}

}  // namespace tap::services
