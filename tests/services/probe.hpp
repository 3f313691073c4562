// A kind for tests of the application: it counts requests, keeps the count as its state, and writes down what happens.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/kind.hpp"

namespace tap::tests {

/// What the services did, in order: "start a", "lost a", "stop a".
using Calls = std::vector<std::string>;

inline std::string text_of(const Calls& calls) {
  std::string text;
  for (const std::string& call : calls) text += (text.empty() ? "" : ", ") + call;
  return text;
}

struct Probed {};

struct ProbeState {
  using Change = Probed;
  std::uint64_t count = 0;
};

inline void apply(ProbeState& state, const Probed& /*change*/) noexcept { ++state.count; }

/// The count in decimal; anything else is damaged.
class ProbeCodec final : public state::StateCodec<ProbeState> {
 public:
  static constexpr std::uint32_t kVersion = 2;

  [[nodiscard]] std::uint32_t schema_version() const override { return kVersion; }
  [[nodiscard]] Result<Bytes> initial() const override { return encode({}); }
  [[nodiscard]] Result<Bytes> encode(const ProbeState& state) const override { return std::to_string(state.count); }
  [[nodiscard]] Result<void> decode(ByteView payload, std::uint32_t version, ProbeState& state) const override {
    if (version > kVersion) return Error{Fault::config, "the schema is newer"};
    if (payload.empty() || payload.find_first_not_of("0123456789") != ByteView::npos) {
      return Error{Fault::damaged, "it is no number"};
    }
    state.count = std::stoull(std::string(payload));
    return {};
  }
  [[nodiscard]] Result<void> encode_change(const Probed& /*change*/, Bytes& out) const override {
    out += '+';
    return {};
  }
  [[nodiscard]] Result<void> apply_change(ProbeState& state, ByteView bytes, std::uint32_t /*version*/) const override {
    if (bytes != "+") return Error{Fault::damaged, "it is no plus"};
    apply(state, Probed{});
    return {};
  }
  [[nodiscard]] Result<void> check(ByteView payload, std::uint32_t version) const override {
    ProbeState state;
    return decode(payload, version, state);
  }
  void write_text(state::TextOutput&, ByteView, std::uint32_t) const override {}
  [[nodiscard]] Bytes read_text(state::TextInput&) const override { return {}; }
};

inline const ProbeCodec& probe_codec() {
  static const ProbeCodec codec;
  return codec;
}

class ProbeService final : public services::Service {
 public:
  ProbeService(Calls& calls, const services::Options& options)
      : calls_(calls), label_(options.text("label")), on_start_(options.text("on_start")) {}

  [[nodiscard]] services::StatePort* state() override { return &state_; }
  [[nodiscard]] Result<void> start(net::Reactor&) override {
    calls_.push_back("start " + label_);
    if (on_start_ == "fail") return Error{Fault::unavailable, "nothing to start with"};
    if (on_start_ == "throw") throw std::runtime_error("start threw");
    return {};
  }
  void reload() override {
    calls_.push_back("reload " + label_);
    if (on_start_ == "throw in reload") throw std::runtime_error("reload threw");
  }
  void stop() override {
    calls_.push_back("stop " + label_);
    if (on_start_ == "throw in stop") throw std::runtime_error("stop threw");
  }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    if (on_start_ == "no protocol") throw std::runtime_error("no protocol");
    return std::make_unique<Counting>(*this);
  }
  [[nodiscard]] std::unique_ptr<net::DatagramProtocol> build_datagram_protocol() override {
    if (on_start_ == "no protocol") throw std::runtime_error("no protocol");
    if (on_start_ == "no datagrams") return nullptr;
    return std::make_unique<CountingDatagrams>(*this);
  }

 private:
  /// The same by datagram. "peek" changes nothing.
  class CountingDatagrams final : public net::DatagramProtocol {
   public:
    explicit CountingDatagrams(ProbeService& service) : service_(service) {}
    void start_protocol() override { service_.calls_.push_back("open " + service_.label_); }
    void datagram_received(std::string_view datagram, const net::DatagramAddress& from) override {
      if (datagram != "peek") service_.state_.record(Probed{});
      transport().write(std::to_string(service_.state_->count), from);
    }
    void stop_protocol() override { service_.calls_.push_back("close " + service_.label_); }

   private:
    ProbeService& service_;
  };
  /// Whatever is received is one request, the answer is how many there have been.
  class Counting final : public net::Protocol {
   public:
    explicit Counting(ProbeService& service) : service_(service) {}
    void data_received(std::string_view data) override {
      service_.state_.record(Probed{});
      if (data == "big") transport().write(std::string(std::size_t{8} << 20, 'x'));
      else transport().write(std::to_string(service_.state_->count));
    }
    void connection_lost(const Error& /*reason*/) override { service_.calls_.push_back("lost " + service_.label_); }

   private:
    ProbeService& service_;
  };

  Calls& calls_;
  std::string label_;
  std::string on_start_;
  services::StateCell<ProbeState> state_{probe_codec()};
};

/// `calls` outlives every service of the kind.
inline services::Kind probe_kind(Calls& calls) {
  services::Kind kind;
  kind.name = "probe";
  kind.summary = "counts";
  kind.options = {{"label", services::OptionSpec::Type::text, {}, "?", "its name in the calls"},
                  {"on_start", services::OptionSpec::Type::text, {}, "", "what goes wrong"}};
  kind.state = &probe_codec();
  kind.speaks_datagrams = true;
  kind.create = [&calls](const services::Options& options) { return std::make_unique<ProbeService>(calls, options); };
  return kind;
}

/// A service of that kind, labelled with its name.
inline state::ServiceDefinition probe_definition(const std::string& name, const std::string& on_start = "") {
  state::ServiceDefinition service;
  service.name = name;
  service.kind = "probe";
  service.options = {{"label", name}};
  if (!on_start.empty()) service.options["on_start"] = on_start;
  return service;
}

}  // namespace tap::tests
