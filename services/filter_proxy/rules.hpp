// Rules: what the filtering proxy blocks, host by host.
//
//     [default]                                # what no rule decides; without it everything passes
//     block = ["cookies"]
//
//     [[rule]]                                 # the first rule that names the host and the
//     thing decides name  = "shop"
//     hosts = ["shop.example", "*.shop.example"]
//     allow = ["cookies"]
//
//     [[rule]]
//     name  = "ads"
//     hosts = ["*.ads.example", "track*.example"]
//     block = ["connections"]                  # of "connections", "images", "cookies"
//
// A `*` stands for any number of any characters, dots too; `*.ads.example` is not `ads.example` itself. Hosts are
// compared without their port, in lower case and without a dot at the end; an IPv6 address is written without brackets.
//
// Source: the filtering proxy of the Twisted articles (accept list, reject list and default for each of the three).
// Tests: tests/services/filter_proxy/rules_test.cpp, tests/fuzz/rules_fuzz.cpp
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "state/base/result.hpp"

namespace tap::services {

/// What can be blocked.
enum class Blockable : std::uint8_t { connections, images, cookies };
inline constexpr std::size_t kBlockables = 3;
inline constexpr std::array<std::string_view, kBlockables> kBlockableNames{"connections", "images", "cookies"};

/// What the rules say of one host and one thing.
struct Ruling {
  bool blocked = false;
  std::uint32_t rule = 0;  ///< which rule says so: its place; the default comes after the last
};

/// A host's three rulings, in the order of Blockable.
using Rulings = std::array<Ruling, kBlockables>;

/// "Example.ORG." and "[::1]" as rules name them: "example.org", "::1".
[[nodiscard]] std::string plain_host(std::string_view host);

/// Whether a pattern with `*` in it stands for a text. Takes time proportional to the product of both lengths at most.
[[nodiscard]] bool matches_pattern(std::string_view pattern, std::string_view text);

/// A value; made by parse(), or one that lets everything pass.
class RuleSet {
 public:
  static constexpr std::size_t kFileBytesMax = std::size_t{4} << 20U;
  static constexpr std::size_t kRulesMax = 1'000;
  static constexpr std::size_t kHostsMax = 100'000;
  /// Hosts with a `*` elsewhere than in a beginning `*.`: each request to a host that was not seen lately looks at all.
  static constexpr std::size_t kPatternsMax = 1'000;
  static constexpr std::size_t kHostBytesMax = 253;
  static constexpr std::size_t kNameBytesMax = 64;
  static constexpr std::size_t kProblemsMax = 20;

  RuleSet() = default;

  /// Reads a rules file. Errors: config; every problem with its place, a line each: "FILE:LINE:COLUMN: sentence".
  [[nodiscard]] static Result<RuleSet> parse(const std::string& text, const std::string& shown_as);
  /// Errors: as parse(); no_input.
  [[nodiscard]] static Result<RuleSet> read(const std::string& path, const std::string& shown_as);

  /// REQUIRES: host is a plain_host().
  [[nodiscard]] Rulings judge(std::string_view host) const;

  /// The rules' names in their order, and "default" after the last.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] std::size_t hosts() const { return hosts_; }

 private:
  friend class RulesReader;
  static constexpr std::uint32_t kNoRule = 0xFFFF'FFFF;

  /// For each thing the first rule that says something of it, by place; kNoRule: none.
  struct Firsts {
    std::array<std::uint32_t, kBlockables> rule{kNoRule, kNoRule, kNoRule};
    std::array<bool, kBlockables> blocked{};
    void take(std::size_t thing, std::uint32_t place, bool block);
    void merge(const Firsts& other);
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using ByHost = std::unordered_map<std::string, Firsts, Hash, std::equal_to<>>;

  ByHost exact_;
  ByHost below_;  ///< "ads.example" of "*.ads.example"
  std::vector<std::pair<std::string, Firsts>> patterns_;
  std::array<bool, kBlockables> otherwise_{};
  std::vector<std::string> names_{"default"};
  std::size_t hosts_ = 0;
};

}  // namespace tap::services
