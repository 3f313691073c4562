#include "services/sequence/state.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "state/base/assert.hpp"
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

/// In one piece: there may be millions.
void put_counter(state::BinaryOutput& output, std::string_view name, std::uint64_t next) {
  static_assert(kSequenceNameBytesMax <= 255);
  TAP_ASSERT(name.size() <= kSequenceNameBytesMax);
  std::array<char, 1 + kSequenceNameBytesMax + sizeof next> bytes;  // NOLINT: filled below, as far as it is used
  bytes[0] = static_cast<char>(name.size());
  std::memcpy(bytes.data() + 1, name.data(), name.size());
  std::memcpy(bytes.data() + 1 + name.size(), &next, sizeof next);
  output.put(bytes.data(), 1 + name.size() + sizeof next);
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
  const std::uint64_t count = state.counters.size();
  output.expect(sizeof count + count * (1 + sizeof(std::uint64_t)) + state.counters.name_bytes());
  output.put(&count, sizeof count);
  state.counters.visit({}, [&](std::string_view name, std::uint64_t next) {
    put_counter(output, name, next);
    return true;
  });
}

void get_counters(state::BoundedInput& input, SequenceState& state) {
  std::uint64_t claimed = 0;
  input.get(&claimed, sizeof claimed);
  const std::size_t count = input.count(claimed, kCounterBytesMin);
  state.counters = {};
  state.counters.reserve(count, input.left() - count * (kCounterBytesMin - 1));
  std::string name;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t next = 0;
    get_counter(input, name, next);
    if (name <= state.counters.last()) throw state::CodecRefusal("the names of the counters are not in order");
    state.counters.append(name, next);
  }
}

template <class Archive>
void write_counters(Archive& archive, const SequenceState& state) {
  std::vector<CounterMoved> counters;
  counters.reserve(state.counters.size());
  state.counters.visit({}, [&](std::string_view name, std::uint64_t next) {
    counters.push_back({std::string(name), next});
    return true;
  });
  archive(CEREAL_NVP(counters));
}

template <class Archive>
void read_counters(Archive& archive, SequenceState& state) {
  std::vector<CounterMoved> counters;
  archive(CEREAL_NVP(counters));
  state.counters = {};
  for (const CounterMoved& counter : counters) {  // people edit these: the order may be any
    check_name(counter.name);
    if (state.counters.find(counter.name) != nullptr) throw state::CodecRefusal("there are two counters of one name");
    state.counters.set(counter.name, counter.next);
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

void apply(SequenceState& state, const CounterMoved& change) noexcept { state.counters.set(change.name, change.next); }

const state::StateCodec<SequenceState>& sequence_codec() { return state::cereal_codec<SequenceState>(); }

}  // namespace tap::services
