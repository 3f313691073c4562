#include "services/sequence/state.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "state/text_codec.hpp"

namespace tap::services {
namespace {

constexpr std::array<bool, 256> make_name_bytes() {
  std::array<bool, 256> allowed{};
  for (const char byte : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-/")) {
    allowed[static_cast<unsigned char>(byte)] = true;
  }
  return allowed;
}
constexpr auto kNameBytes = make_name_bytes();

/// The length of a name, in one byte, and its number: the least that a counter takes.
constexpr std::size_t kCounterBytesMin = 1 + 1 + sizeof(std::uint64_t);

void put_counter(state::BinaryOutput& output, const std::string& name, std::uint64_t next) {
  static_assert(kSequenceNameBytesMax <= 255);
  const auto length = static_cast<std::uint8_t>(name.size());
  output.put(&length, sizeof length);
  output.put(name.data(), name.size());
  output.put(&next, sizeof next);
}

void check_name(const std::string& name) {
  if (!is_sequence_name(name)) throw state::CodecRefusal("what should be the name of a counter is none");
}

void get_counter(state::BoundedInput& input, std::string& name, std::uint64_t& next) {
  std::uint8_t length = 0;
  input.get(&length, sizeof length);
  name.resize(input.count(length, 1));
  input.get(name.data(), name.size());
  check_name(name);
  input.get(&next, sizeof next);
}

}  // namespace

bool is_sequence_name(std::string_view text) {
  return !text.empty() && text.size() <= kSequenceNameBytesMax &&
         std::all_of(text.begin(), text.end(), [](char byte) { return kNameBytes[static_cast<unsigned char>(byte)]; });
}

// --- a change, and a counter in JSON and XML ----------------------------------------------------------------------

void save(state::BinaryOutput& output, const CounterMoved& change) { put_counter(output, change.name, change.next); }
void load(state::BoundedInput& input, CounterMoved& change) { get_counter(input, change.name, change.next); }

template <class Archive>
  requires std::is_base_of_v<cereal::traits::TextArchive, Archive>
void serialize(Archive& archive, CounterMoved& counter) {
  archive(cereal::make_nvp("name", counter.name), cereal::make_nvp("next", counter.next));
}

// --- the state ----------------------------------------------------------------------------------------------------

namespace {

void put_counters(state::BinaryOutput& output, const SequenceState& state) {
  const std::uint64_t count = state.next.size();
  std::size_t bytes = sizeof count;
  for (const auto& [name, next] : state.next) bytes += 1 + name.size() + sizeof next;
  output.expect(bytes);
  output.put(&count, sizeof count);
  for (const auto& [name, next] : state.next) put_counter(output, name, next);
}

void get_counters(state::BoundedInput& input, SequenceState& state) {
  std::uint64_t claimed = 0;
  input.get(&claimed, sizeof claimed);
  const std::size_t count = input.count(claimed, kCounterBytesMin);
  state.next.clear();
  for (std::size_t i = 0; i < count; ++i) {
    std::string name;
    std::uint64_t next = 0;
    get_counter(input, name, next);
    if (!state.next.empty() && name <= state.next.rbegin()->first) {
      throw state::CodecRefusal("the names of the counters are not in order");
    }
    state.next.emplace_hint(state.next.end(), std::move(name), next);
  }
}

template <class Archive>
void write_counters(Archive& archive, const SequenceState& state) {
  std::vector<CounterMoved> counters;
  counters.reserve(state.next.size());
  for (const auto& [name, next] : state.next) counters.push_back({name, next});
  archive(CEREAL_NVP(counters));
}

template <class Archive>
void read_counters(Archive& archive, SequenceState& state) {
  std::vector<CounterMoved> counters;
  archive(CEREAL_NVP(counters));
  state.next.clear();
  for (CounterMoved& counter : counters) {  // people edit these: the order may be any
    check_name(counter.name);
    if (!state.next.emplace(std::move(counter.name), counter.next).second) {
      throw state::CodecRefusal("there are two counters of one name");
    }
  }
}

}  // namespace

template <class Archive>
void SequenceState::serialize(Archive& archive, std::uint32_t /*version*/) {
  if constexpr (std::same_as<Archive, state::BinaryOutput>) {
    put_counters(archive, *this);
  } else if constexpr (std::same_as<Archive, state::BoundedInput>) {
    get_counters(archive, *this);
  } else if constexpr (Archive::is_saving::value) {
    write_counters(archive, *this);
  } else {
    read_counters(archive, *this);
  }
}

void apply(SequenceState& state, const CounterMoved& change) noexcept {
  state.next.insert_or_assign(change.name, change.next);
}

const state::StateCodec<SequenceState>& sequence_codec() { return state::cereal_codec<SequenceState>(); }

}  // namespace tap::services
