#include "services/poetry/transforms.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace tap::services {
namespace {

constexpr std::array kTransforms{
    PoemTransform{"cummingsify", "all of it in lower case", cummingsify},
    PoemTransform{"backwards", "the last character first", backwards},
    PoemTransform{"rot13", "each letter 13 further", rot13},
};

constexpr utf8proc_int32_t kNone = -1;
constexpr utf8proc_int32_t kCapitalSigma = 0x3A3;
constexpr utf8proc_int32_t kSmallSigma = 0x3C3;
constexpr utf8proc_int32_t kFinalSigma = 0x3C2;
constexpr utf8proc_int32_t kCapitalDottedI = 0x130;  ///< becomes two: i, and a combining dot above (SpecialCasing.txt)

/// What stands first in some text.
struct Character {
  utf8proc_int32_t code = kNone;  ///< kNone: a byte that is no UTF-8
  std::size_t bytes = 0;
};

Character first_of(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  utf8proc_int32_t code = kNone;
  const utf8proc_ssize_t bytes = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                                  static_cast<utf8proc_ssize_t>(text.size()), &code);
  if (bytes <= 0) return {kNone, 1};
  return {code, static_cast<std::size_t>(bytes)};
}

void append(std::string& text, utf8proc_int32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto size = static_cast<std::size_t>(utf8proc_encode_char(code, bytes.data()));
  text.append(reinterpret_cast<const char*>(bytes.data()), size);
}

char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// The standard's property Cased: a letter of a script with two cases, or what looks like one.
bool is_cased(utf8proc_int32_t code) {
  if (code == kNone) return false;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      break;
  }
  // PropList.txt, Other_Lowercase and Other_Uppercase: Roman numerals and letters in circles change case; the rest is
  // named.
  if (utf8proc_tolower(code) != code || utf8proc_toupper(code) != code || code == 0xAA || code == 0xBA) return true;
  return (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

/// The standard's property Case_Ignorable: marks, modifiers, and the punctuation that stands inside words (Word_Break
/// is MidLetter, MidNumLet or Single_Quote).
bool is_case_ignorable(utf8proc_int32_t code) {
  if (code == kNone) return false;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      break;
  }
  constexpr std::array<utf8proc_int32_t, 17> kInsideWords{0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                                          0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                                          0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::find(kInsideWords.begin(), kInsideWords.end(), code) != kInsideWords.end();
}

/// What stands last in some text, as it would be found from the beginning: no byte begins two characters.
Character last_of(std::string_view text) {
  constexpr std::size_t kBytesMax = 4;
  for (std::size_t bytes = 2; bytes <= std::min(kBytesMax, text.size()); ++bytes) {
    const Character found = first_of(text.substr(text.size() - bytes));
    if (found.bytes == bytes) return found;
  }
  const auto last = static_cast<unsigned char>(text.back());
  return {last < 0x80 ? utf8proc_int32_t{last} : kNone, 1};
}

/// Whether the first character of `text` that counts is cased; and the last one. What is passed over lies between two
/// that count, so that a whole poem costs no more than three times its length.
bool cased_follows(std::string_view text) {
  while (!text.empty()) {
    const Character next = first_of(text);
    if (!is_case_ignorable(next.code)) return is_cased(next.code);
    text.remove_prefix(next.bytes);
  }
  return false;
}
bool cased_precedes(std::string_view text) {
  while (!text.empty()) {
    const Character last = last_of(text);
    if (!is_case_ignorable(last.code)) return is_cased(last.code);
    text.remove_suffix(last.bytes);
  }
  return false;
}

}  // namespace

std::span<const PoemTransform> poem_transforms() { return kTransforms; }

const PoemTransform* find_poem_transform(std::string_view name) {
  const auto* found = std::find_if(kTransforms.begin(), kTransforms.end(),
                                   [&](const PoemTransform& transform) { return transform.name == name; });
  return found == kTransforms.end() ? nullptr : found;
}

std::string cummingsify(std::string_view poem) {
  std::string lower;
  lower.reserve(poem.size());
  for (std::size_t at = 0; at < poem.size();) {
    const Character next = first_of(poem.substr(at));
    const std::string_view bytes = poem.substr(at, next.bytes);
    if (next.bytes == 1) {
      lower += next.code == kNone ? bytes[0] : lower_ascii(bytes[0]);
    } else if (next.code == kCapitalSigma) {
      const bool ends_word = cased_precedes(poem.substr(0, at)) && !cased_follows(poem.substr(at + next.bytes));
      append(lower, ends_word ? kFinalSigma : kSmallSigma);
    } else if (next.code == kCapitalDottedI) {
      lower.append("i\u0307");
    } else {
      const utf8proc_int32_t changed = utf8proc_tolower(next.code);
      if (changed == next.code) lower.append(bytes);
      else append(lower, changed);
    }
    at += next.bytes;
  }
  return lower;
}

std::string backwards(std::string_view poem) {
  std::string turned(poem.size(), '\0');
  std::size_t end = turned.size();
  const auto put = [&](std::string_view character) {
    end -= character.size();
    character.copy(turned.data() + end, character.size());
  };
  std::size_t begin = 0;  // of the character that a reader sees
  std::size_t at = 0;
  utf8proc_int32_t state = 0;
  utf8proc_int32_t before = kNone;
  while (at < poem.size()) {
    const Character next = first_of(poem.substr(at));
    const bool plain = before < 0x80 && next.code < 0x80;  // or no UTF-8
    const bool goes_on =
        plain ? before == '\r' && next.code == '\n'
              : before != kNone && next.code != kNone && !utf8proc_grapheme_break_stateful(before, next.code, &state);
    if (!goes_on && at > begin) {
      put(poem.substr(begin, at - begin));
      begin = at;
    }
    if (plain || before == kNone || next.code == kNone) state = 0;
    before = next.code;
    at += next.bytes;
  }
  put(poem.substr(begin));
  return turned;
}

std::string rot13(std::string_view poem) {
  std::string turned(poem);
  for (char& c : turned) {
    const char low = c >= 'a' && c <= 'z' ? 'a' : 'A';
    if (c >= low && c < low + 26) c = static_cast<char>(low + (c - low + 13) % 26);
  }
  return turned;
}

}  // namespace tap::services
