// Whatever is written as rules of a filter-proxy is rules or a list of places; rules judge any host, and patterns match
// as a simpler matcher says. The input: the file; its last line is the host that is judged.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "services/filter_proxy/rules.hpp"
#include "state/base/assert.hpp"

namespace {

/// By a table of all beginnings of both.
bool matches_slowly(std::string_view pattern, std::string_view text) {
  std::vector<bool> now(text.size() + 1);
  now[0] = true;
  for (const char c : pattern) {
    std::vector<bool> next(text.size() + 1);
    bool any = false;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      any |= now[i];
      next[i] = c == '*' ? any : i > 0 && now[i - 1] && text[i - 1] == c;
    }
    now = next;
  }
  return now[text.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tap::services;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string host = plain_host(text.substr(text.rfind('\n') + 1));
  const std::string first = text.substr(0, text.find('\n'));
  if (first.size() < 200 && host.size() < 200) TAP_ASSERT(matches_pattern(first, host) == matches_slowly(first, host));
  const tap::Result<RuleSet> rules = RuleSet::parse(text, "rules");
  if (!rules.ok()) {
    TAP_ASSERT(rules.error().fault == tap::Fault::config && rules.error().message.rfind("rules:", 0) == 0);
    return 0;
  }
  TAP_ASSERT(rules->names().back() == "default");
  const Rulings rulings = rules->judge(host);
  for (const Ruling& ruling : rulings) TAP_ASSERT(ruling.rule < rules->names().size());
  return 0;
}
