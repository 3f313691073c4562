#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/tap/commands.hpp"

namespace tap::tools {
namespace {

using Json = nlohmann::ordered_json;
using Lines = std::map<std::string, std::string>;

/// Every value under its path.
void flatten(const std::string& path, const Json& value, Lines& into) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, item] : value.items()) {
      if (key != "cereal_class_version") flatten(path + "." + key, item, into);
    }
  } else if (value.is_array() && !value.empty()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      // Services by name: their order means nothing.
      const bool named = value[i].is_object() && (value[i].contains("service") || value[i].contains("name"));
      const std::string label = named ? value[i].value("service", value[i].value("name", "")) : std::to_string(i);
      flatten(path + "[" + label + "]", value[i], into);
    }
  } else {
    into[path] = value.dump();
  }
}

/// What is compared: definition and states, not generation or times.
Result<Lines> lines_of(const std::string& path, const services::Registry& kinds) {
  Result<state::StoredArchive> stored = read_any(path);
  if (!stored) return std::move(stored).error();
  Result<std::string> text = state::to_text(stored->archive, state::TextFormat::json, state_types(kinds));
  if (!text) return std::move(text.error()).with(path);
  const Json document = Json::parse(*text, nullptr, false);
  if (document.is_discarded())
    return Error{Fault::internal, path + ": the state holds a number that JSON cannot carry"};
  Lines lines;
  flatten("definition", document.at("tapd").at("definition"), lines);
  flatten("state", document.at("tapd").at("services"), lines);
  return lines;
}

}  // namespace

Result<bool> diff(const std::string& a, const std::string& b, const services::Registry& kinds) {
  Result<Lines> left = lines_of(a, kinds);
  if (!left) return std::move(left).error();
  Result<Lines> right = lines_of(b, kinds);
  if (!right) return std::move(right).error();
  if (*left == *right) return true;
  std::printf("--- %s\n+++ %s\n", a.c_str(), b.c_str());
  Lines all = *left;
  all.insert(right->begin(), right->end());
  for (const auto& [path, unused] : all) {
    const auto l = left->find(path);
    const auto r = right->find(path);
    if (l != left->end() && r != right->end() && l->second == r->second) continue;
    if (l != left->end()) std::printf("- %s = %s\n", path.c_str(), l->second.c_str());
    if (r != right->end()) std::printf("+ %s = %s\n", path.c_str(), r->second.c_str());
  }
  return false;
}

}  // namespace tap::tools
