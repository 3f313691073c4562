#include "services/sequence/sequence.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "services/net/line_protocol.hpp"
#include "services/net/refusal.hpp"
#include "services/sequence/state.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

constexpr char kWho[] = "sequence";
/// Where a counter ends: what is given is below, so that the number after it exists.
constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kCountMax = 1'000'000;
constexpr std::uint64_t kListDefault = 1000;
constexpr std::uint64_t kListMax = 10'000;

class SequenceService final : public Service {
 public:
  explicit SequenceService(const Options& options)
      : start_(options.count("start")),
        names_max_(options.count("names_max")),
        reserve_block_(std::max<std::uint64_t>(options.count("reserve_block"), 1)),
        reserves_(options.durability().mode == Durability::Mode::reserve) {}

  [[nodiscard]] StatePort* state() override { return &state_; }
  [[nodiscard]] std::unique_ptr<net::Protocol> build_protocol() override;
  [[nodiscard]] Result<void> start(net::Reactor& reactor) override {
    log_ = &reactor.log();
    return {};
  }
  void stop() override;

  /// Takes `count` numbers and returns the first of them. Throws net::Refusal.
  std::uint64_t take(std::string_view name, std::uint64_t count);
  /// The number that take() would return.
  [[nodiscard]] std::uint64_t peek(std::string_view name) const;
  /// Appends up to `max` lines `name next`, of the names above `after`.
  void list(std::string_view after, std::uint64_t max, std::string& out) const;

 private:
  /// A counter that has reserved, since the start, numbers up to what the state says.
  struct Reserved {
    std::uint64_t next = 0;   ///< the first that is not given
    std::uint64_t block = 0;  ///< how many were reserved the last time
  };

  [[nodiscard]] std::uint64_t peek(std::string_view name, std::uint64_t recorded) const;
  void reserve(std::string_view name, std::uint64_t first, std::uint64_t count);

  StateCell<SequenceState> state_{sequence_codec()};
  /// With durability reserve only. A tree, for names come from outside: they can be chosen so that hashes collide.
  std::map<std::string, Reserved, std::less<>> reserved_;
  std::uint64_t start_;
  std::uint64_t names_max_;
  std::uint64_t reserve_block_;
  bool reserves_;
  LogSink* log_ = nullptr;
};

std::uint64_t SequenceService::peek(std::string_view name) const {
  const std::uint64_t* recorded = state_->counters.find(name);
  return recorded == nullptr ? start_ : peek(name, *recorded);
}

/// `recorded`: what the state says of it.
std::uint64_t SequenceService::peek(std::string_view name, std::uint64_t recorded) const {
  if (!reserves_) return recorded;
  const auto found = reserved_.find(name);
  return found == reserved_.end() ? recorded : found->second.next;
}

std::uint64_t SequenceService::take(std::string_view name, std::uint64_t count) {
  const std::uint64_t* recorded = state_->counters.find(name);
  if (recorded == nullptr && state_->counters.size() >= names_max_) {
    throw net::Refusal("there are " + std::to_string(state_->counters.size()) + " names already, no more may be added");
  }
  const std::uint64_t first = recorded == nullptr ? start_ : peek(name, *recorded);
  if (count > kEnd - first) {
    throw net::Refusal(first == kEnd ? "the numbers of this name are used up"
                                     : "this name has " + std::to_string(kEnd - first) + " numbers left");
  }
  if (!reserves_) {
    state_.record(CounterMoved{std::string(name), first + count});
  } else if (recorded == nullptr || first + count > *recorded) {
    reserve(name, first, count);
  }
  if (reserves_) reserved_.find(name)->second.next = first + count;
  return first;
}

/// Records a block that begins with `first` and has at least `count` numbers.
void SequenceService::reserve(std::string_view name, std::uint64_t first, std::uint64_t count) {
  const auto found = reserved_.find(name);
  const std::uint64_t last_block = found == reserved_.end() ? 0 : found->second.block;
  const std::uint64_t block = last_block == 0 ? 1 : last_block + std::min(last_block, reserve_block_ - last_block);
  const std::uint64_t size = std::min(std::max(block, count), kEnd - first);
  state_.record(CounterMoved{std::string(name), first + size});
  if (found == reserved_.end()) reserved_.emplace(name, Reserved{first, block});
  else found->second.block = block;
}

/// Nothing is given any more: where each counter is goes into the state in place of what was reserved.
void SequenceService::stop() {
  try {
    for (const auto& [name, reserved] : reserved_) {
      if (*state_->counters.find(name) == reserved.next) continue;
      state_.record(CounterMoved{name, reserved.next});
    }
  } catch (const net::Refusal& refusal) {
    if (log_ == nullptr) return;
    log_->write(LogLevel::warning, kWho,
                std::string("numbers that were reserved and not used will be skipped: ") + refusal.what());
  }
}

void SequenceService::list(std::string_view after, std::uint64_t max, std::string& out) const {
  state_->counters.visit(after, [&](std::string_view name, std::uint64_t recorded) {
    if (max-- == 0) return false;
    out.append(name).append(" ").append(std::to_string(peek(name, recorded))).append("\n");
    return true;
  });
}

// --- requests -----------------------------------------------------------------------------------------------------

constexpr bool is_blank(char byte) { return byte == ' ' || byte == '\t'; }

/// The next word of `line`, which loses it; empty at its end.
std::string_view take_word(std::string_view& line) {
  const auto begin = std::find_if_not(line.begin(), line.end(), is_blank);
  const auto end = std::find_if(begin, line.end(), is_blank);
  const std::string_view word(begin, end);
  line = {end, line.end()};
  return word;
}

/// `command` is in capital letters; what came may be in small ones.
bool is_command(std::string_view word, std::string_view command) {
  constexpr unsigned kCapital = 0xDF;  // clears the bit in which the two letters differ, in ASCII
  return std::equal(word.begin(), word.end(), command.begin(), command.end(), [](char came, char capital) {
    return (static_cast<unsigned char>(came) & kCapital) == static_cast<unsigned char>(capital);
  });
}

std::string_view take_name(std::string_view& line) {
  const std::string_view name = take_word(line);
  if (name.empty()) throw net::Refusal("the name is missing");
  if (!is_sequence_name(name)) throw net::Refusal("a name is 1 to 128 letters, digits and ._:-/");
  return name;
}

/// A number from 1 to `max`, `otherwise` when there is none.
std::uint64_t take_count(std::string_view& line, std::uint64_t otherwise, std::uint64_t max) {
  const std::string_view word = take_word(line);
  if (word.empty()) return otherwise;
  const std::optional<std::uint64_t> count = parse_count(word);
  if (!count || *count == 0 || *count > max) {
    throw net::Refusal("a count is a number from 1 to " + std::to_string(max));
  }
  return *count;
}

void expect_end(std::string_view line) {
  if (!take_word(line).empty()) throw net::Refusal("there are too many words");
}

class SequenceProtocol final : public net::LineProtocol {
 public:
  explicit SequenceProtocol(SequenceService& service) : service_(service) {}

 private:
  void line_received(std::string_view line) override {
    const std::string_view command = take_word(line);
    if (is_command(command, "NEXT")) next(line);
    else if (is_command(command, "PEEK")) peek(line);
    else if (is_command(command, "LIST")) list(line);
    else if (is_command(command, "HELP")) help();
    else if (is_command(command, "QUIT")) transport().lose_connection();
    else throw net::Refusal("there are NEXT, PEEK, LIST, HELP and QUIT");
  }

  void next(std::string_view line) {
    const std::string_view name = take_name(line);
    const std::uint64_t count = take_count(line, 0, kCountMax);
    expect_end(line);
    const std::uint64_t first = service_.take(name, std::max<std::uint64_t>(count, 1));
    std::string answer = std::to_string(first);
    if (count != 0) answer.append(" ").append(std::to_string(first + count - 1));
    send_line(answer);
  }

  void peek(std::string_view line) {
    const std::string_view name = take_name(line);
    expect_end(line);
    const std::uint64_t next = service_.peek(name);
    if (next == kEnd) throw net::Refusal("the numbers of this name are used up");
    send_line(std::to_string(next));
  }

  /// One answer is bounded by kListMax, and while the peer does not read it no further request is looked at.
  void list(std::string_view line) {
    std::string_view rest = line;
    const std::string_view after = take_word(rest).empty() ? std::string_view() : take_name(line);
    const std::uint64_t max = take_count(line, kListDefault, kListMax);
    expect_end(line);
    std::string answer;
    service_.list(after, max, answer);
    answer += ".";
    send_line(answer);
  }

  void help() {
    send_line(
        "NEXT name [count]   the next number of a counter; with a count, the first and the last of so many\n"
        "PEEK name           the number that NEXT would give\n"
        "LIST [after [max]]  names and what NEXT would give, in order, the names above `after` only\n"
        "QUIT                ends the connection\n"
        ".");
  }

  SequenceService& service_;
};

std::unique_ptr<net::Protocol> SequenceService::build_protocol() { return std::make_unique<SequenceProtocol>(*this); }

}  // namespace

Kind sequence_kind() {
  Kind kind;
  kind.name = "sequence";
  kind.summary = "gives the numbers of named counters, each number to one client only; send HELP for the requests";
  kind.options = {
      {"start", OptionSpec::Type::count, {}, "1", "the first number of a name that is new"},
      {"names_max", OptionSpec::Type::count, {}, "10000000", "how many names there may be"},
      {"reserve_block",
       OptionSpec::Type::count,
       {},
       "1000",
       "with durability reserve, how many numbers a busy counter makes durable ahead: so many may be skipped after a "
       "crash"},
  };
  kind.state = &sequence_codec();
  kind.can_reserve = true;
  kind.create = [](const Options& options) { return std::make_unique<SequenceService>(options); };
  return kind;
}

}  // namespace tap::services
