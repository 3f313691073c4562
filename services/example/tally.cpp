// tally: each line is a name; the answer tells how often it has come, for good.
#include "services/net/line_protocol.hpp"
#include "services/plugin.hpp"
#include "state/text_codec.hpp"

namespace tally {
struct Seen {  // a change: what is journaled, and replayed after a crash
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(name));
  }
};
struct State {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = Seen;
  std::map<std::string, std::uint64_t> counts;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t /*version*/) {
    archive(CEREAL_NVP(counts));
  }
};
void apply(State& state, const Seen& seen) noexcept { ++state.counts[seen.name]; }

using Cell = tap::services::StateCell<State>;
struct Protocol final : tap::net::LineProtocol {
  explicit Protocol(Cell& of_all) : cell(of_all) {}
  void line_received(std::string_view name) override {
    cell.record(Seen{std::string(name)});  // the answer waits until this is durable
    send_line(std::to_string(cell->counts.at(std::string(name))));
  }
  Cell& cell;
};
struct Service final : tap::services::Service {
  tap::services::StatePort* state() override { return &cell; }
  std::unique_ptr<tap::net::Protocol> build_protocol() override { return std::make_unique<Protocol>(cell); }
  Cell cell{tap::state::cereal_codec<State>()};
};
tap::services::Kind kind() {
  return {.name = "tally",
          .summary = "counts names",
          .options = {},
          .state = &tap::state::cereal_codec<State>(),
          .create = [](const tap::services::Options&) { return std::make_unique<Service>(); }};
}
}  // namespace tally
TAP_PLUGIN(tally::kind())
