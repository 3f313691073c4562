#include "services/kind.hpp"

#include <algorithm>
#include <iterator>

#include "services/units.hpp"
#include "state/base/suggest.hpp"

namespace tap::services {

std::string OptionSpec::value_hint() const {
  switch (type) {
    case Type::text:
      return "text";
    case Type::choice: {
      std::string hint;
      for (const std::string& choice : choices) hint += (hint.empty() ? "" : "|") + choice;
      return hint;
    }
    case Type::boolean:
      return "true|false";
    case Type::count:
      return "number";
    case Type::duration:
      return "duration";
    case Type::size:
      return "size";
    case Type::list:
      return "text, repeatable";
  }
  return "";
}

namespace {

/// The values of a list, which are kept a line each.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

Result<std::string> OptionSpec::canonical(const std::string& text) const {
  const auto wrong = [&](const std::string& wanted) { return Error{Fault::config, "'" + text + "' is not " + wanted}; };
  switch (type) {
    case Type::text:
    case Type::list:
      break;
    case Type::choice:
      if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
        return wrong("one of " + value_hint() + did_you_mean(text, choices));
      }
      break;
    case Type::boolean:
      if (!parse_boolean(text)) return wrong("true or false");
      break;
    case Type::count:
      if (!parse_count(text)) return wrong("a whole number");
      break;
    case Type::duration:
      if (!parse_duration_ms(text)) return wrong("a duration such as 300ms, 5s, 5min or a number of seconds");
      break;
    case Type::size:
      if (!parse_size_bytes(text)) return wrong("a size such as 64KiB or a number of bytes");
      break;
  }
  if (required && text.empty()) return Error{Fault::config, "it is empty"};
  if (check) {
    const std::vector<std::string> values = type == Type::list ? lines_of(text) : std::vector<std::string>{text};
    for (const std::string& value : values) {
      if (Result<void> checked = check(value); !checked) return std::move(checked).error();
    }
  }
  return text;
}

const std::string& Options::text(const std::string& name) const {
  const auto found = values_.find(name);
  TAP_ASSERT(found != values_.end());
  return found->second;
}

bool Options::boolean(const std::string& name) const { return text(name) == "true"; }

std::uint64_t Options::count(const std::string& name) const { return parse_count(text(name)).value_or(0); }

std::uint64_t Options::duration_ms(const std::string& name) const { return parse_duration_ms(text(name)).value_or(0); }

std::uint64_t Options::size_bytes(const std::string& name) const { return parse_size_bytes(text(name)).value_or(0); }

std::vector<std::string> Options::list(const std::string& name) const { return lines_of(text(name)); }

std::string Options::path(const std::string& name) const {
  const std::string& given = text(name);
  if (given.empty() || given.front() == '/' || directory_.empty()) return given;
  return directory_ + "/" + given;
}

const OptionSpec* Kind::find_option(std::string_view option) const {
  const auto found =
      std::find_if(options.begin(), options.end(), [&](const OptionSpec& spec) { return spec.name == option; });
  return found == options.end() ? nullptr : &*found;
}

Result<Options> Kind::check(const std::map<std::string, std::string>& given) const {
  std::map<std::string, std::string> values;
  std::vector<std::string> names;
  for (const OptionSpec& spec : options) {
    values[spec.name] = spec.required ? "" : spec.default_value;
    names.push_back(spec.name);
  }
  for (const auto& [option, text] : given) {
    const OptionSpec* spec = find_option(option);
    if (spec == nullptr) {
      return Error{Fault::config,
                   "the kind '" + name + "' has no option '" + option + "'" + did_you_mean(option, names)};
    }
    Result<std::string> value = spec->canonical(text);
    if (!value) return std::move(value.error()).with(option);
    values[option] = std::move(value).value();
  }
  for (const OptionSpec& spec : options) {
    if (spec.required && !given.contains(spec.name))
      return Error{Fault::config, spec.name + " is missing: " + spec.doc};
  }
  return Options(std::move(values));
}

Result<Options> Kind::check(const std::map<std::string, std::string>& given,
                            const std::vector<std::string>& listen) const {
  Result<Options> checked = check(given);
  if (!checked || !check_together) return checked;
  const std::optional<OptionProblem> problem = check_together(*checked, listen);
  if (problem) return Error{Fault::config, problem->option + ": " + problem->message};
  return checked;
}

Result<void> Registry::add(std::vector<Kind> kinds) {
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const bool twice = std::any_of(kinds.begin(), kinds.begin() + static_cast<std::ptrdiff_t>(i),
                                   [&](const Kind& other) { return other.name == kinds[i].name; });
    if (twice || find(kinds[i].name) != nullptr) {
      return Error{Fault::config, "there is a kind '" + kinds[i].name + "' already"};
    }
  }
  std::move(kinds.begin(), kinds.end(), std::back_inserter(kinds_));
  return {};
}

const Kind* Registry::find(std::string_view name) const {
  const auto found = std::find_if(kinds_.begin(), kinds_.end(), [&](const Kind& kind) { return kind.name == name; });
  return found == kinds_.end() ? nullptr : &*found;
}

std::string Registry::unknown(std::string_view name) const {
  std::vector<std::string> names;
  for (const Kind& kind : kinds_) names.push_back(kind.name);
  return "there is no kind '" + std::string(name) + "'" + did_you_mean(name, names);
}

}  // namespace tap::services
