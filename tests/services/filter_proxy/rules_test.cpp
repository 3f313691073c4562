#include "services/filter_proxy/rules.hpp"

#include <doctest/doctest.h>

using namespace tap;
using namespace tap::services;

namespace {

RuleSet rules(const std::string& text) {
  Result<RuleSet> parsed = RuleSet::parse(text, "rules.toml");
  REQUIRE_MESSAGE(parsed.ok(), (parsed.ok() ? "" : parsed.error().message));
  return std::move(parsed).value();
}

std::string refused(const std::string& text) {
  const Result<RuleSet> parsed = RuleSet::parse(text, "rules.toml");
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().fault == Fault::config);
  return parsed.error().message;
}

/// "ads: connections" or "": who blocks what of a host.
std::string blocked(const RuleSet& set, const std::string& host) {
  std::string text;
  const Rulings rulings = set.judge(plain_host(host));
  for (std::size_t i = 0; i < kBlockables; ++i) {
    if (!rulings[i].blocked) continue;
    text += (text.empty() ? "" : ", ") + set.names()[rulings[i].rule] + ": " + std::string(kBlockableNames[i]);
  }
  return text;
}

constexpr char kRules[] = R"([default]
block = ["cookies"]

[[rule]]
name = "shop"
hosts = ["shop.example", "*.shop.example"]
allow = ["cookies"]

[[rule]]
name = "ads"
hosts = ["*.ads.example", "track*.example", "*banner*", "192.0.2.7", "[2001:DB8::1]"]
block = ["connections"]

[[rule]]
name = "slow"
hosts = ["ads.example", "*.shop.example"]
block = ["images", "cookies"]
)";

}  // namespace

TEST_CASE("filter-proxy rules: problems are told with their places, all of them at once") {
  CHECK(refused("x = ").find("rules.toml:1:") == 0);
  CHECK(refused("[defualt]\n") ==
        "rules.toml:1:2: there is no key 'defualt' at the top level; did you mean 'default'?");
  CHECK(refused("[default]\nallow = []\n").find("rules.toml:2:1: there is no key 'allow' in [default]") == 0);
  CHECK(refused("rule = 1\n").find("write [[rule]]") != std::string::npos);
  CHECK(refused("default = 1\n").find("write [default]") != std::string::npos);
  CHECK(refused("[[rule]]\nname='a'\nhosts=['a']\nblock=['pictures']\n")
            .find("rules.toml:4:8: 'pictures' cannot be blocked") == 0);
  CHECK(refused("[[rule]]\nname='a'\nhosts=['a']\nblock=['images']\nallow=['images']\n")
            .find("both blocks and allows images") != std::string::npos);
  CHECK(refused("[[rule]]\nname='a'\nhosts=['a']\n").find("neither blocks nor allows") != std::string::npos);
  CHECK(refused("[[rule]]\nname='a'\nblock=['images']\n").find("has no 'hosts'") != std::string::npos);
  CHECK(refused("[[rule]]\nhosts=['a']\nblock=['images']\n").find("a rule has a 'name'") != std::string::npos);
  CHECK(refused("[[rule]]\nname='default'\nhosts=['a']\nblock=['images']\n").find("already") != std::string::npos);
  CHECK(refused("[[rule]]\nname='a b'\nhosts=['a']\nblock=['images']\n").find("is not a name") != std::string::npos);
  for (const char* host : {"", "a:80", "a b", "http://a", "[::1", "a/b"}) {
    CAPTURE(host);
    CHECK(refused(std::string("[[rule]]\nname='a'\nhosts=['") + host + "']\nblock=['images']\n").find("is no host") !=
          std::string::npos);
  }
  CHECK(refused("# \xc3\xa4\n\xcf\x94 = 1\n") ==
        "rules.toml:2:1: there is a byte that is no ASCII outside of a comment");
  const std::string two = refused("[[rule]]\nname='a'\nhosts='a'\nblock=[1]\n");
  CHECK(two.find("rules.toml:3:") != std::string::npos);
  CHECK(two.find("rules.toml:4:") != std::string::npos);
}

TEST_CASE("filter-proxy rules: too much is refused, and deep keys do not overflow the stack") {
  std::string many;
  for (std::size_t i = 0; i <= RuleSet::kRulesMax; ++i) {
    many += "[[rule]]\nname='r" + std::to_string(i) + "'\nhosts=['a']\nblock=['images']\n";
  }
  CHECK(refused(many).find("more than 1000 rules") != std::string::npos);
  std::string stars = "[[rule]]\nname='a'\nblock=['images']\nhosts=[";
  for (std::size_t i = 0; i <= RuleSet::kPatternsMax; ++i) stars += "'a*" + std::to_string(i) + "',";
  CHECK(refused(stars + "]\n").find("more than 1000 hosts with '*'") != std::string::npos);
  std::string deep = "a";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  CHECK(refused(deep + " = 1\n").find("rules.toml:1:1:") == 0);
  CHECK(refused(std::string(100'000, '[')).find("rules.toml:1:") == 0);
}

TEST_CASE("filter-proxy rules: the first rule that names the host and the thing decides, then the default") {
  const RuleSet set = rules(kRules);
  CHECK(set.names() == std::vector<std::string>{"shop", "ads", "slow", "default"});
  CHECK(blocked(set, "news.example") == "default: cookies");
  CHECK(blocked(set, "shop.example") == "");
  CHECK(blocked(set, "www.shop.example") == "slow: images");
  CHECK(blocked(set, "ads.example") == "slow: images, slow: cookies");
  CHECK(blocked(set, "a.b.ads.example") == "ads: connections, default: cookies");
  CHECK(blocked(set, "badads.example") == "default: cookies");
}

TEST_CASE("filter-proxy rules: hosts are the same in any case, with a dot at the end, and as addresses") {
  const RuleSet set = rules(kRules);
  CHECK(blocked(set, "X.ADS.Example.") == "ads: connections, default: cookies");
  CHECK(blocked(set, "track7.example") == "ads: connections, default: cookies");
  CHECK(blocked(set, "the-banner.org") == "ads: connections, default: cookies");
  CHECK(blocked(set, "192.0.2.7") == "ads: connections, default: cookies");
  CHECK(blocked(set, "[2001:db8::1]") == "ads: connections, default: cookies");
  CHECK(blocked(set, "192.0.2.70") == "default: cookies");
}

TEST_CASE("filter-proxy rules: without rules everything passes, and an empty file is such") {
  CHECK(blocked(RuleSet(), "a.example") == "");
  CHECK(blocked(rules(""), "a.example") == "");
  CHECK(blocked(rules("[[rule]]\nname='all'\nhosts=['*']\nblock=['cookies']\n"), "x") == "all: cookies");
}

TEST_CASE("filter-proxy rules: a pattern matches as its stars say") {
  CHECK(matches_pattern("*", ""));
  CHECK(matches_pattern("a*b", "ab"));
  CHECK(matches_pattern("a*b", "axxb"));
  CHECK_FALSE(matches_pattern("a*b", "axxbc"));
  CHECK(matches_pattern("*a*b*", "xxaxbx"));
  CHECK_FALSE(matches_pattern("*a*b*", "bxa"));
  CHECK_FALSE(matches_pattern("", "a"));
  CHECK(matches_pattern("a**c", "abc"));
  CHECK_FALSE(matches_pattern(std::string(100, '*') + "b", std::string(250, 'a')));
}
