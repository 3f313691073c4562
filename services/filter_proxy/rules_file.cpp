// RuleSet::parse(): a rules file as TOML, with every problem's place.
#include <fcntl.h>
// toml++ 3.3 asserts, in debug builds only, that a key follows "[[" and a line's end; without that it reports it.
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <set>

#include "services/filter_proxy/networks.hpp"
#include "services/filter_proxy/rules.hpp"
#include "services/net/http/syntax.hpp"
#include "state/base/suggest.hpp"
#include "state/files.hpp"

namespace tap::services {
namespace {

constexpr unsigned kKeyPartsMax = 100;

/// toml++ limits the nesting of values, but not that of keys, and frees tables within tables by recursion: the line of
/// a key with very many dots, or 0.
unsigned line_of_endless_key(const std::string& text) {
  unsigned line = 1;
  unsigned dots = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"' || c == '\'') quoted = !quoted;
    if (c == '.' && !quoted && ++dots > kKeyPartsMax) return line;
    if (c != '\n') continue;
    ++line;
    dots = 0;
    quoted = false;
  }
  return 0;
}

/// The first byte that is no ASCII outside of a comment; nullopt: there is none. Nothing in rules needs one, and toml++
/// 3.3 runs into an unreachable place for some letters in a key.
std::optional<toml::source_position> foreign_byte(const std::string& text) {
  toml::source_position at{1, 1};
  bool comment = false;
  for (const char c : text) {
    if (c == '\n') {
      ++at.line;
      at.column = 0;
      comment = false;
    }
    if (c == '#') comment = true;
    if (!comment && static_cast<unsigned char>(c) > 0x7F) return at;
    ++at.column;
  }
  return std::nullopt;
}

bool is_rule_name(std::string_view name) {
  return !name.empty() && name.size() <= RuleSet::kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) { return net::http_bytes::is(c, net::http_bytes::kHost); });
}

}  // namespace

class RulesReader {
 public:
  explicit RulesReader(const std::string& file) : file_(file) {}

  void read(const toml::table& root) {
    check_keys(root, {"default", "rule"}, "at the top level");
    set_.names_.clear();
    if (const toml::node* rules = root.get("rule")) {
      const toml::array* array = rules->as_array();
      if (array == nullptr || !array->is_array_of_tables())
        problem(*rules, "'rule' is an array of tables: write [[rule]]");
      else
        for (const toml::node& rule : *array) read_rule(*rule.as_table());
    }
    set_.names_.emplace_back("default");
    if (const toml::node* otherwise = root.get("default")) {
      if (const toml::table* table = otherwise->as_table()) read_default(*table);
      else problem(*otherwise, "'default' is a table: write [default]");
    }
  }

  void problem(const toml::source_position& at, std::string message) {
    problems_.push_back({at.line, at.column, std::move(message)});
  }

  Result<RuleSet> take() {
    if (problems_.empty()) return std::move(set_);
    std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
      return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
    std::string message;
    for (std::size_t i = 0; i < std::min(problems_.size(), RuleSet::kProblemsMax); ++i) {
      const Problem& one = problems_[i];
      message += (i == 0 ? "" : "\n") + file_ + ":" + std::to_string(std::max(one.line, 1U)) + ":" +
                 std::to_string(std::max(one.column, 1U)) + ": " + one.message;
    }
    if (problems_.size() > RuleSet::kProblemsMax) {
      message += "\nand " + std::to_string(problems_.size() - RuleSet::kProblemsMax) + " more";
    }
    return Error{Fault::config, std::move(message)};
  }

 private:
  using Things = std::array<bool, kBlockables>;
  struct Problem {
    unsigned line;
    unsigned column;
    std::string message;
  };

  void problem(const toml::node& where, std::string message) { problem(where.source().begin, std::move(message)); }

  void check_keys(const toml::table& table, const std::vector<std::string>& known, const std::string& where) {
    for (const auto& [key, value] : table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      problem(key.source().begin,
              "there is no key '" + std::string(key.str()) + "' " + where + did_you_mean(key.str(), known));
    }
  }

  /// Calls take(string, node) for each of an array of strings; says what is something else.
  template <class Take>
  void each_string(const toml::table& table, const char* key, Take take) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) {
      problem(*node, std::string("'") + key + "' is an array of strings");
      return;
    }
    for (const toml::node& item : *array) {
      if (const auto* text = item.as_string()) take(text->get(), item);
      else problem(item, std::string("'") + key + "' is an array of strings");
    }
  }

  Things read_things(const toml::table& table, const char* key) {
    Things things{};
    each_string(table, key, [&](const std::string& text, const toml::node& node) {
      const auto found = std::find(kBlockableNames.begin(), kBlockableNames.end(), text);
      if (found != kBlockableNames.end()) {
        things[static_cast<std::size_t>(found - kBlockableNames.begin())] = true;
        return;
      }
      problem(node, "'" + text + "' cannot be blocked or allowed; there are connections, images and cookies" +
                        did_you_mean(text, {"connections", "images", "cookies"}));
    });
    return things;
  }

  void read_default(const toml::table& table) {
    check_keys(table, {"block"}, "in [default]");
    set_.otherwise_ = read_things(table, "block");
  }

  void read_rule(const toml::table& table) {
    check_keys(table, {"name", "hosts", "block", "allow"}, "in a [[rule]]");
    const auto place = static_cast<std::uint32_t>(set_.names_.size());
    if (place == RuleSet::kRulesMax) {
      if (!too_many_) problem(table, "there are more than " + std::to_string(RuleSet::kRulesMax) + " rules");
      too_many_ = true;
      return;
    }
    set_.names_.push_back(read_name(table));
    const Things block = read_things(table, "block");
    const Things allow = read_things(table, "allow");
    RuleSet::Firsts says;
    const auto says_something = [&](const char* key) {
      const toml::node* node = table.get(key);
      return node != nullptr && (!node->is_array() || !node->as_array()->empty());
    };
    for (std::size_t thing = 0; thing < kBlockables; ++thing) {
      if (block[thing] && allow[thing]) {
        problem(table, "this rule both blocks and allows " + std::string(kBlockableNames[thing]));
      }
      if (block[thing] || allow[thing]) says.take(thing, place, block[thing]);
    }
    if (!says_something("block") && !says_something("allow"))
      problem(table, "this rule neither blocks nor allows anything");
    if (table.get("hosts") == nullptr) problem(table, "this rule has no 'hosts'");
    each_string(table, "hosts", [&](const std::string& text, const toml::node& node) { add_host(text, says, node); });
  }

  std::string read_name(const toml::table& table) {
    const toml::node* node = table.get("name");
    const auto* text = node == nullptr ? nullptr : node->as_string();
    if (text == nullptr) {
      problem(node == nullptr ? static_cast<const toml::node&>(table) : *node, "a rule has a 'name', a string");
      return {};
    }
    const std::string& name = text->get();
    if (!is_rule_name(name)) {
      problem(*node, "'" + name + "' is not a name (letters, digits, '.', '_', '-', '~'; at most 64)");
    } else if (name == "default" || !taken_.insert(name).second) {
      problem(*node, "there is a rule '" + name + "' already");
    }
    return name;
  }

  void add_host(const std::string& text, const RuleSet::Firsts& says, const toml::node& node) {
    const std::string host = plain_host(text);
    const bool numeric = PlainAddress::parse(host).has_value();
    const bool good = numeric || std::all_of(host.begin(), host.end(), [](char c) {
                        return c == '*' || net::http_bytes::is(c, net::http_bytes::kHost);
                      });
    if (host.empty() || host.size() > RuleSet::kHostBytesMax || !good) {
      problem(node, "'" + text + "' is no host: a name, perhaps with '*', or an address, without a port");
      return;
    }
    if (++set_.hosts_ > RuleSet::kHostsMax) {
      if (set_.hosts_ == RuleSet::kHostsMax + 1) {
        problem(node, "there are more than " + std::to_string(RuleSet::kHostsMax) + " hosts");
      }
      return;
    }
    const std::size_t star = host.find('*');
    if (star == std::string::npos) {
      set_.exact_[host].merge(says);
    } else if (star == 0 && host.size() > 2 && host[1] == '.' && host.find('*', 1) == std::string::npos) {
      set_.below_[host.substr(2)].merge(says);
    } else if (set_.patterns_.size() < RuleSet::kPatternsMax) {
      set_.patterns_.emplace_back(host, says);
    } else {
      problem(node, "there are more than " + std::to_string(RuleSet::kPatternsMax) + " hosts with '*' inside");
    }
  }

  std::string file_;
  RuleSet set_;
  std::vector<Problem> problems_;
  std::set<std::string> taken_;
  bool too_many_ = false;
};

Result<RuleSet> RuleSet::parse(const std::string& text, const std::string& shown_as) {
  RulesReader reader(shown_as);
  if (const unsigned line = line_of_endless_key(text); line != 0) {
    reader.problem({line, 1}, "a line with more than " + std::to_string(kKeyPartsMax) + " dots outside of strings");
    return reader.take();
  }
  if (const std::optional<toml::source_position> at = foreign_byte(text)) {
    reader.problem(*at, "there is a byte that is no ASCII outside of a comment");
    return reader.take();
  }
  try {
    const toml::table root = toml::parse(text, shown_as);
    reader.read(root);
  } catch (const toml::parse_error& error) {
    reader.problem(error.source().begin, std::string(error.description()));
  }
  return reader.take();
}

Result<RuleSet> RuleSet::read(const std::string& path, const std::string& shown_as) {
  Result<Bytes> text = state::read_file(AT_FDCWD, path);
  if (!text) return std::move(text.error()).with("the rules");
  if (text->size() > kFileBytesMax) {
    return Error{Fault::config, shown_as + ": the rules are longer than " + std::to_string(kFileBytesMax) + " bytes"};
  }
  return parse(*text, shown_as);
}

}  // namespace tap::services
