#include "state/text_depth.hpp"

#include <algorithm>
#include <string>

namespace tap::state {
namespace {

Error too_deep() { return Error{Fault::damaged, "values are nested deeper than " + std::to_string(kTextDepthMax)}; }

Result<void> check_json(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') ++i;
    else if (c == '"') quoted = !quoted;
    else if (!quoted && (c == '[' || c == '{')) ++depth;
    else if (!quoted && (c == ']' || c == '}')) --depth;
    if (depth > kTextDepthMax) return too_deep();
  }
  return {};
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':';
}

/// Walks over the elements of an XML text. Every function leaves at_ behind what it took, or gives false.
class XmlWalk {
 public:
  explicit XmlWalk(std::string_view text) : text_(text) {}

  Result<void> check() {
    if (!skip_declaration()) return odd("the declaration at its beginning");
    while (skip_text()) {
      if (!take_tag()) return odd("offset " + std::to_string(at_));
      if (depth_ > kTextDepthMax) return too_deep();
    }
    return {};
  }

 private:
  static Error odd(const std::string& where) {
    return Error{Fault::damaged, "the text is not the plain XML that `tap convert` writes, at " + where};
  }
  [[nodiscard]] char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char wanted) {
    if (here() != wanted) return false;
    ++at_;
    return true;
  }
  bool take_spaces() {
    const std::size_t before = at_;
    while (is_space(here())) ++at_;
    return at_ != before;
  }
  bool take_name() {
    const std::size_t before = at_;
    while (is_name(here())) ++at_;
    return at_ != before;
  }

  bool skip_declaration() {
    take_spaces();
    if (text_.substr(at_, 2) != "<?") return true;
    if (text_.substr(at_, 6) != "<?xml ") return false;
    at_ += 5;
    while (take_spaces() && take_name()) {
      const std::size_t before = at_;
      if (!take_attribute_value()) return false;
      // Some parsers end a declaration at the first "?>", quoted or not.
      if (text_.substr(before, at_ - before).find_first_of("<>?") != std::string_view::npos) return false;
    }
    return take('?') && take('>');
  }

  /// To the next '<'; false at the end of the text.
  bool skip_text() {
    at_ = std::min(text_.find('<', at_), text_.size());
    return at_ < text_.size();
  }

  bool take_tag() {
    ++at_;  // '<'
    if (take('/')) {
      if (!take_name()) return false;
      take_spaces();
      return --depth_ >= 0 && take('>');
    }
    if (!take_name()) return false;
    while (take_spaces() && take_name()) {
      if (!take_attribute_value()) return false;
    }
    if (take('/')) return take('>');
    ++depth_;
    return take('>');
  }

  bool take_attribute_value() {
    take_spaces();
    if (!take('=')) return false;
    take_spaces();
    const char quote = here();
    if (quote != '"' && quote != '\'') return false;
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return false;
    at_ = end + 1;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<void> check_text_depth(std::string_view text, TextFormat format) {
  return format == TextFormat::json ? check_json(text) : XmlWalk(text).check();
}

}  // namespace tap::state
