// FilterProxyState: how often each rule has decided, for good.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "services/filter_proxy/rules.hpp"
#include "state/state_codec.hpp"

namespace tap::services {

/// What became of one rule's decisions. Units: requests.
struct RuleCounts {
  std::uint64_t connections = 0;  ///< not made
  std::uint64_t images = 0;       ///< not shown
  std::uint64_t cookies = 0;      ///< requests and answers that lost theirs
  std::uint64_t passed = 0;       ///< whose connection this rule, or the default, has let pass

  [[nodiscard]] bool any() const { return connections != 0 || images != 0 || cookies != 0 || passed != 0; }
  RuleCounts& operator+=(const RuleCounts& more);

  template <class Archive>
  void serialize(Archive& archive);
};

struct NamedCounts {
  std::string rule;
  RuleCounts counts;

  template <class Archive>
  void serialize(Archive& archive);
};

/// What was counted since the last record: what to add, and which rules nobody has any more.
struct Counted {
  std::vector<NamedCounts> added;
  std::vector<std::string> forgotten;

  template <class Archive>
  void serialize(Archive& archive);
};

struct FilterProxyState {
  static constexpr std::uint32_t kSchemaVersion = 1;
  /// Counts of rules that are not in the file any more are kept while there are no more than these in all.
  static constexpr std::size_t kCountedRulesMax = 4 * RuleSet::kRulesMax;
  using Change = Counted;

  std::map<std::string, RuleCounts> rules;  ///< by name; "default" is the default

  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

void apply(FilterProxyState& state, const Counted& change) noexcept;

[[nodiscard]] const state::StateCodec<FilterProxyState>& filter_proxy_codec();

}  // namespace tap::services
