#include "services/portforward/portforward.hpp"

#include <cstdint>
#include <utility>

#include "services/net/connector.hpp"

namespace tap::services {
namespace {

constexpr char kWho[] = "portforward";

struct ForwardCounts {
  std::uint64_t connected = 0;
  std::uint64_t unreachable = 0;  ///< the target could not be connected to
  std::uint64_t aborted = 0;      ///< one side was lost, and the other was aborted for it
  std::uint64_t to_target_bytes = 0;
  std::uint64_t to_client_bytes = 0;
};

/// One end of a forwarded connection; what it receives leaves at the other end.
///
/// A direction that is stuck stops its source, and never the other direction: what two peers could say to each other
/// without us they can say through us. An end of one direction is carried over as such; the loss of one side is a reset
/// for the other, unless both have said their last byte.
///
/// Invariants: `other_` is set at both ends or at none.
class Side : public net::Protocol {
 public:
  explicit Side(std::uint64_t& received_bytes) : received_bytes_(received_bytes) {}

  void connection_made() override {
    transport().read_while_congested(true);
    transport().pause_reading();  // until there is another side
  }
  void data_received(std::string_view data) override {
    if (other_ == nullptr) return;
    received_bytes_ += data.size();
    other_->transport().write(data);
    if (other_->transport().congested()) transport().pause_reading();
  }
  void data_forwarded(std::size_t bytes) override { received_bytes_ += bytes; }
  void output_drained() override {
    if (other_ != nullptr) other_->transport().resume_reading();
  }
  void end_received() override {
    ended_ = true;
    if (other_ != nullptr) other_->transport().lose_write_connection();
    else transport().lose_connection();
  }

 protected:
  void join(Side& other) {
    other_ = &other;
    other.other_ = this;
    for (Side* side : {this, &other}) {
      side->transport().forward_to(&side->other_->transport());
      side->transport().resume_reading();
    }
  }
  /// The other side, which is on its own from now on; nullptr: there is none.
  Side* part() {
    Side* other = std::exchange(other_, nullptr);
    if (other == nullptr) return nullptr;
    other->other_ = nullptr;
    transport().forward_to(nullptr);
    other->transport().forward_to(nullptr);
    return other;
  }
  /// This side is gone. Whether the other had to be aborted for it.
  bool take_down_other() {
    Side* other = part();
    if (other == nullptr || (ended_ && other->ended_)) return false;  // it sends what it has, and ends by itself
    other->transport().abort_connection();
    return true;
  }
  /// A stop: what is on its way to the other side is sent, and then it is told the end.
  void let_other_finish() {
    if (Side* other = part()) other->transport().lose_connection();
  }

 private:
  std::uint64_t& received_bytes_;
  Side* other_ = nullptr;
  bool ended_ = false;
};

class TargetSide final : public Side {
 public:
  explicit TargetSide(ForwardCounts& counts) : Side(counts.to_client_bytes), counts_(counts) {}
  void connection_lost(const Error& /*reason*/) override {
    if (take_down_other()) ++counts_.aborted;
  }

 private:
  friend class ClientSide;
  ForwardCounts& counts_;
};

class ClientSide final : public Side {
 public:
  ClientSide(net::Connector& connector, ForwardCounts& counts)
      : Side(counts.to_target_bytes), connector_(connector), counts_(counts) {}

  void connection_made() override {
    Side::connection_made();
    connecting_ = connector_.connect([this](Result<net::Protocol*> made) {
      connecting_.reset();
      if (made) {
        ++counts_.connected;
        join(static_cast<TargetSide&>(**made));
      } else {
        ++counts_.unreachable;
        transport().fail(made.error().message);
      }
    });
  }
  void service_stops() override {
    if (std::exchange(connecting_, nullptr) != nullptr) transport().lose_connection();
    else let_other_finish();
  }
  void connection_lost(const Error& /*reason*/) override {
    connecting_.reset();
    if (take_down_other()) ++counts_.aborted;
  }

 private:
  net::Connector& connector_;
  ForwardCounts& counts_;
  std::unique_ptr<net::Connecting> connecting_;
};

Result<net::ClientEndpoint> target_of(const Options& options) {
  Result<net::ClientEndpoint> target = net::parse_client_endpoint(options.text("to"));
  if (!target || options.directory().empty()) return target;
  if (target->tls) target->tls->resolve(options.directory());
  if (!target->path.empty() && target->path.front() != '/') target->path.insert(0, options.directory() + "/");
  return target;
}

class ForwardService final : public Service {
 public:
  explicit ForwardService(const Options& options) : target_(target_of(options)) {}

  [[nodiscard]] Result<void> start(net::Reactor& reactor) override {
    if (!target_) return target_.error();
    const std::string who = reactor.charged() == 0 ? kWho : reactor.name_of(reactor.charged());
    Result<std::unique_ptr<net::Connector>> connector = net::Connector::create(reactor, *target_, targets_, who);
    if (!connector) return std::move(connector).error();
    connector_ = std::move(connector).value();
    return {};
  }
  [[nodiscard]] bool wind_down(std::function<void()> ended) override {
    if (connector_->connections().counts().open == 0) return false;
    connector_->connections().drain(std::move(ended));
    return true;
  }
  void stop() override { connector_.reset(); }

  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
    return std::make_unique<ClientSide>(*connector_, counts_);
  }
  [[nodiscard]] std::vector<std::string> status() const override {
    const auto text = [](std::uint64_t number) { return std::to_string(number); };
    return {text(counts_.connected) + " forwarded, " + text(counts_.unreachable) + " without a target, " +
            text(counts_.aborted) + " aborted for the other side, " + text(counts_.to_target_bytes) +
            " bytes to the target, " + text(counts_.to_client_bytes) + " bytes to clients"};
  }

 private:
  class Targets final : public net::Factory {
   public:
    explicit Targets(ForwardCounts& counts) : counts_(counts) {}
    [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override {
      return std::make_unique<TargetSide>(counts_);
    }

   private:
    ForwardCounts& counts_;
  };

  Result<net::ClientEndpoint> target_;
  ForwardCounts counts_;
  Targets targets_{counts_};
  std::unique_ptr<net::Connector> connector_;
};

Result<void> check_target(const std::string& text) {
  Result<net::ClientEndpoint> target = net::parse_client_endpoint(text);
  if (!target) return std::move(target).error();
  return {};
}

}  // namespace

Kind portforward_kind() {
  Kind kind;
  kind.name = "portforward";
  kind.summary = "carries every connection on to another place";
  kind.options = {{"to",
                   OptionSpec::Type::text,
                   {},
                   "tcp:localhost:80",
                   "where to: tcp:HOST:PORT, unix:PATH or tls:HOST:PORT with the options of a client endpoint",
                   true,
                   check_target}};
  kind.create = [](const Options& options) { return std::make_unique<ForwardService>(options); };
  return kind;
}

}  // namespace tap::services
