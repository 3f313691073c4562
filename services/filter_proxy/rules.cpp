#include "services/filter_proxy/rules.hpp"

#include <utility>

namespace tap::services {

std::string plain_host(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.size() > 1 && host.back() == '.') host.remove_suffix(1);
  std::string plain(host);
  for (char& c : plain) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return plain;
}

/// After a mismatch only the last `*` takes one more byte: nothing before it can do better.
bool matches_pattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void RuleSet::Firsts::take(std::size_t thing, std::uint32_t place, bool block) {
  if (rule[thing] <= place) return;
  rule[thing] = place;
  blocked[thing] = block;
}

void RuleSet::Firsts::merge(const Firsts& other) {
  for (std::size_t thing = 0; thing < kBlockables; ++thing) take(thing, other.rule[thing], other.blocked[thing]);
}

Rulings RuleSet::judge(std::string_view host) const {
  Firsts firsts;
  if (hosts_ != 0) {
    if (const auto found = exact_.find(host); found != exact_.end()) firsts.merge(found->second);
    for (std::size_t dot = host.find('.'); dot != std::string_view::npos; dot = host.find('.', dot + 1)) {
      const auto found = dot == 0 ? below_.end() : below_.find(host.substr(dot + 1));
      if (found != below_.end()) firsts.merge(found->second);
    }
    for (const auto& [pattern, says] : patterns_) {
      if (matches_pattern(pattern, host)) firsts.merge(says);
    }
  }
  Rulings rulings;
  for (std::size_t thing = 0; thing < kBlockables; ++thing) {
    const bool ruled = firsts.rule[thing] != kNoRule;
    rulings[thing].blocked = ruled ? firsts.blocked[thing] : otherwise_[thing];
    rulings[thing].rule = ruled ? firsts.rule[thing] : static_cast<std::uint32_t>(names_.size() - 1);
  }
  return rulings;
}

}  // namespace tap::services
