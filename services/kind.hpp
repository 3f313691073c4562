// Kind: a sort of service, as its author describes it: name, options, state, and how to make one.
//
// A kind is a value. main() lists the kinds there are (standard_kinds.hpp); nothing registers itself.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/durability.hpp"
#include "services/service.hpp"
#include "state/base/result.hpp"
#include "state/state_codec.hpp"

namespace tap::services {

/// One option of a kind: a key of [service.options] and a long option of the command line.
struct OptionSpec {
  /// list: an array of strings in a config, repeatable on the command line; its values are kept a line each.
  enum class Type { text, choice, boolean, count, duration, size, list };

  std::string name;  ///< with underscores; the command line takes dashes too
  Type type = Type::text;
  std::vector<std::string> choices;  ///< for Type::choice
  std::string default_value;         ///< of a required one: an example
  std::string doc;                   ///< one sentence
  bool required = false;             ///< it has to be given
  /// What the type does not say of a value: of a list, of each. Errors: config, a sentence without the option's name.
  std::function<Result<void>(const std::string&)> check = nullptr;

  /// The value as it is stored. Errors: config, a sentence without the option's name.
  [[nodiscard]] Result<std::string> canonical(const std::string& text) const;
  /// "none|line", "duration", ...
  [[nodiscard]] std::string value_hint() const;
};

/// Checked values of a kind's options, defaults filled in. Asking for an option the kind does not have is a bug.
class Options {
 public:
  explicit Options(std::map<std::string, std::string> values) : values_(std::move(values)) {}

  [[nodiscard]] const std::string& text(const std::string& name) const;
  [[nodiscard]] bool boolean(const std::string& name) const;
  [[nodiscard]] std::uint64_t count(const std::string& name) const;
  [[nodiscard]] std::uint64_t duration_ms(const std::string& name) const;
  [[nodiscard]] std::uint64_t size_bytes(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> list(const std::string& name) const;
  /// A file or a directory: a relative one is taken from directory(). An empty text stays empty.
  [[nodiscard]] std::string path(const std::string& name) const;

  /// Where relative paths begin: the directory that the program was started in, absolute; empty: the present one.
  [[nodiscard]] const std::string& directory() const { return directory_; }
  void set_directory(const std::string& directory) { directory_ = directory; }

  /// What was promised of the service's state: a kind that can_reserve behaves by it.
  [[nodiscard]] const Durability& durability() const { return durability_; }
  void set_durability(const Durability& durability) { durability_ = durability; }

 private:
  std::map<std::string, std::string> values_;
  Durability durability_;
  std::string directory_;
};

/// What is wrong with an option that looks right by itself.
struct OptionProblem {
  std::string option;
  std::string message;  ///< a sentence without the option's name
};

struct Kind {
  std::string name;
  std::string summary;  ///< one sentence
  std::vector<OptionSpec> options;
  const state::StateType* state = nullptr;  ///< nullptr: nothing outlives the process
  bool can_reserve = false;                 ///< it counts, and understands durability 'reserve'
  bool speaks_datagrams = false;            ///< its service has build_datagram_protocol(): `udp:` endpoints are for it
  std::function<std::unique_ptr<Service>(const Options&)> create;
  /// Whether checked options go together, and with the endpoints as they were written; nullptr: they always do.
  std::function<std::optional<OptionProblem>(const Options&, const std::vector<std::string>& listen)> check_together =
      nullptr;

  [[nodiscard]] const OptionSpec* find_option(std::string_view option) const;
  /// Errors: config, one sentence for the first option that is unknown, wrong or missing.
  [[nodiscard]] Result<Options> check(const std::map<std::string, std::string>& given) const;
  /// As check(), and whether they go with the endpoints.
  [[nodiscard]] Result<Options> check(const std::map<std::string, std::string>& given,
                                      const std::vector<std::string>& listen) const;
};

/// The kinds of this program. Lifetime: outlives every application made with it.
class Registry {
 public:
  explicit Registry(std::vector<Kind> kinds) : kinds_(std::move(kinds)) {}

  /// Takes in kinds of elsewhere, all or none. What find() and all() gave before is not valid any more.
  /// Errors: config, when a name is taken.
  [[nodiscard]] Result<void> add(std::vector<Kind> kinds);
  [[nodiscard]] const Kind* find(std::string_view name) const;
  [[nodiscard]] const std::vector<Kind>& all() const { return kinds_; }
  /// "there is no kind 'fibonaci'; did you mean 'fibonacci'?"
  [[nodiscard]] std::string unknown(std::string_view name) const;

 private:
  std::vector<Kind> kinds_;
};

}  // namespace tap::services
