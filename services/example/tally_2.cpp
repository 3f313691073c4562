// tally, the second version: it also knows how many names have come in all. The answer is "2 of 7".
//
// The first version's state stays as it was, as a type of its own that is never touched again; one upgrade() leads from
// it to the new one. Changes that the first version journaled are applied to its state before that.
#include "services/net/line_protocol.hpp"
#include "services/plugin.hpp"
#include "state/text_codec.hpp"

namespace tally {

struct Seen {
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(name));
  }
};

struct State1 {
  static constexpr std::uint32_t kSchemaVersion = 1;
  using Change = Seen;

  std::map<std::string, std::uint64_t> counts;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t /*version*/) {
    archive(CEREAL_NVP(counts));
  }
};
void apply(State1& state, const Seen& seen) noexcept { ++state.counts[seen.name]; }

struct State {
  static constexpr std::uint32_t kSchemaVersion = 2;
  using Previous = State1;
  using Change = Seen;

  std::map<std::string, std::uint64_t> counts;
  std::uint64_t total = 0;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t /*version*/) {
    archive(CEREAL_NVP(counts), CEREAL_NVP(total));
  }
};
void apply(State& state, const Seen& seen) noexcept {
  ++state.counts[seen.name];
  ++state.total;
}
State upgrade(State1&& old) {
  State next{std::move(old.counts)};
  for (const auto& [name, count] : next.counts) next.total += count;
  return next;
}

using Cell = tap::services::StateCell<State>;
struct Protocol final : tap::net::LineProtocol {
  explicit Protocol(Cell& of_all) : cell(of_all) {}
  void line_received(std::string_view name) override {
    cell.record(Seen{std::string(name)});
    send_line(std::to_string(cell->counts.at(std::string(name))) + " of " + std::to_string(cell->total));
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
