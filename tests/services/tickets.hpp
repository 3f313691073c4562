// Tickets: an example of a state with three versions. Each version is a type of its own that is never touched again;
// what a version changed is one upgrade() from the one before.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include "state/state_codec.hpp"

namespace tap::tests {

/// Version 1: one counter of 32 bits.
struct TicketsV1 {
  static constexpr std::uint32_t kSchemaVersion = 1;
  struct Taken {
    std::uint32_t how_many = 0;
    template <class Archive>
    void serialize(Archive& archive);
  };
  using Change = Taken;

  std::uint32_t next = 1;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// Version 2: 64 bits, and a prefix that can be changed.
struct TicketsV2 {
  static constexpr std::uint32_t kSchemaVersion = 2;
  using Previous = TicketsV1;
  struct Taken {
    std::uint64_t how_many = 0;
    template <class Archive>
    void serialize(Archive& archive);
  };
  struct Renamed {
    std::string prefix;
    template <class Archive>
    void serialize(Archive& archive);
  };
  using Change = std::variant<Taken, Renamed>;

  std::uint64_t next = 1;
  std::string prefix;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// Version 3, the present one: a counter for each prefix.
struct Tickets {
  static constexpr std::uint32_t kSchemaVersion = 3;
  using Previous = TicketsV2;
  struct Taken {
    std::string prefix;
    std::uint64_t how_many = 0;
    template <class Archive>
    void serialize(Archive& archive);
  };
  using Change = Taken;

  std::map<std::string, std::uint64_t> next;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

void apply(TicketsV1& state, const TicketsV1::Taken& change) noexcept;
void apply(TicketsV2& state, const TicketsV2::Taken& change) noexcept;
void apply(TicketsV2& state, const TicketsV2::Renamed& change) noexcept;
void apply(Tickets& state, const Tickets::Taken& change) noexcept;
TicketsV2 upgrade(TicketsV1&& old);
/// Throws when the prefix is "cursed": an upgrade that fails.
Tickets upgrade(TicketsV2&& old);

[[nodiscard]] const state::StateCodec<TicketsV1>& tickets_v1_codec();
[[nodiscard]] const state::StateCodec<TicketsV2>& tickets_v2_codec();
[[nodiscard]] const state::StateCodec<Tickets>& tickets_codec();

}  // namespace tap::tests
