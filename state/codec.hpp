// Codec: cereal, kept on a short leash. How a value becomes the payload of a section, and back.
//
// Bytes: state/FORMAT.md, section 3.
// Tests: tests/state/codec_test.cpp
//
// cereal declines to be a storage format and believes what it reads: 8 bytes of input can make it take gigabytes, and
// it recurses without limit. So it only sees bytes whose checksum was right, and even then through BoundedInput,
// which checks each length against what is left before anything grows, bounds the depth, takes no bool but 0 and 1,
// and wants every byte consumed. Everything cereal throws stops in encode() and decode().
//
// Included by the .cpp file that defines a state's serialize(); headers need only state/state_codec.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cereal/cereal.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/unordered_set.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>
#include <concepts>
#include <cstdint>
#include <exception>
#include <type_traits>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"

static_assert(std::endian::native == std::endian::little, "payloads are little-endian and copied as they are");

/// @cond  Doxygen finds no place for a specialisation of somebody else's template.
/// A state says its schema version as `static constexpr std::uint32_t kSchemaVersion = N;` and gets it as the second
/// argument of serialize(). (cereal's own macro registers it by a static initialiser, which a linker may drop.)
template <class T>
  requires requires { T::kSchemaVersion; }
struct cereal::detail::Version<T, cereal::detail::version_binding_tag> {
  static constexpr std::uint32_t version = T::kSchemaVersion;
};
/// @endcond

namespace tap::state {

/// Nesting of values inside a payload; each container and each struct counts one.
inline constexpr int kDepthMax = 256;

/// Refused input; never leaves decode().
struct CodecRefusal : std::exception {
  explicit CodecRefusal(std::string why) : message(std::move(why)) {}
  [[nodiscard]] const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

/// Counts nesting, for writing and for reading: what could not be read is not written.
class Depth {
 public:
  void enter() {
    if (++depth_ > kDepthMax) throw CodecRefusal("values are nested deeper than " + std::to_string(kDepthMax));
  }
  void leave() { --depth_; }

 private:
  int depth_ = 0;
};

/// cereal's view of a growing byte string.
class BinaryOutput : public cereal::OutputArchive<BinaryOutput, cereal::AllowEmptyClassElision>, public Depth {
 public:
  explicit BinaryOutput(Bytes& out) : OutputArchive(this), out_(out) {}
  void put(const void* data, std::size_t size) { out_.append(static_cast<const char*>(data), size); }
  /// So many bytes follow: for a state that is large and knows it.
  void expect(std::size_t size) { out_.reserve(out_.size() + size); }

 private:
  Bytes& out_;
};

/// cereal's view of bytes that may lie.
class BoundedInput : public cereal::InputArchive<BoundedInput, cereal::AllowEmptyClassElision>, public Depth {
 public:
  explicit BoundedInput(ByteView bytes) : InputArchive(this), bytes_(bytes) {}

  void get(void* to, std::size_t size) {
    if (size > left()) throw CodecRefusal("the data ends in the middle of a value");
    if (size != 0) std::memcpy(to, bytes_.data() + at_, size);  // an empty vector's data() may be null
    at_ += size;
  }
  /// Throws when one of the next `count` bytes is no bool.
  void check_bools(std::size_t count) const {
    const ByteView bytes = bytes_.substr(at_, count);
    const auto other = std::find_if(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; });
    if (other == bytes.end()) return;
    throw CodecRefusal("a bool is " + std::to_string(static_cast<unsigned char>(*other)) + ", not 0 or 1");
  }
  /// How many elements, each of at least `bytes_each` bytes, follow. Throws when they cannot.
  [[nodiscard]] std::size_t count(std::uint64_t claimed, std::size_t bytes_each) const {
    if (claimed > left() / std::max<std::size_t>(bytes_each, 1)) {
      throw CodecRefusal("a length of " + std::to_string(claimed) + " is more than the " + std::to_string(left()) +
                         " bytes that are left");
    }
    return static_cast<std::size_t>(claimed);
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }

 private:
  ByteView bytes_;
  std::size_t at_ = 0;
};

// --- the functions cereal finds by argument-dependent look-up --------------------------------------------------

/// cereal's own wrappers, which are no values and take no level.
template <class T>
inline constexpr bool kIsWrapper = false;
template <class T>
inline constexpr bool kIsWrapper<cereal::NameValuePair<T>> = true;
template <class T>
inline constexpr bool kIsWrapper<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool kIsWrapper<cereal::BinaryData<T>> = true;

template <class Archive>
concept OurArchive = std::same_as<Archive, BinaryOutput> || std::same_as<Archive, BoundedInput>;

template <OurArchive Archive, class T>
void prologue(Archive& archive, const T& /*unused*/) {
  if constexpr (std::is_class_v<T> && !kIsWrapper<T>) archive.enter();
}
template <OurArchive Archive, class T>
void epilogue(Archive& archive, const T& /*unused*/) {
  if constexpr (std::is_class_v<T> && !kIsWrapper<T>) archive.leave();
}

template <class T>
concept Number = std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, long double>;

template <Number T>
void CEREAL_SAVE_FUNCTION_NAME(BinaryOutput& output, const T& number) {
  output.put(&number, sizeof number);
}
template <Number T>
void CEREAL_LOAD_FUNCTION_NAME(BoundedInput& input, T& number) {
  input.get(&number, sizeof number);
}
template <std::same_as<bool> T>
void CEREAL_SAVE_FUNCTION_NAME(BinaryOutput& output, const T& flag) {
  const char byte = flag ? 1 : 0;
  output.put(&byte, 1);
}
template <std::same_as<bool> T>
void CEREAL_LOAD_FUNCTION_NAME(BoundedInput& input, T& flag) {
  char byte = 0;
  input.check_bools(1);
  input.get(&byte, 1);
  flag = byte == 1;
}

template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(BinaryOutput& output, cereal::NameValuePair<T>& pair) {
  output(pair.value);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(BoundedInput& input, cereal::NameValuePair<T>& pair) {
  input(pair.value);
}
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(BinaryOutput& output, cereal::SizeTag<T>& tag) {
  output(tag.size);
}
/// Every element takes at least one byte: this is what bounds every container that cereal fills.
template <class T>
void CEREAL_SERIALIZE_FUNCTION_NAME(BoundedInput& input, cereal::SizeTag<T>& tag) {
  input(tag.size);
  (void)input.count(tag.size, 1);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(BinaryOutput& output, const cereal::BinaryData<T>& data) {
  output.put(data.data, static_cast<std::size_t>(data.size));
}
/// How cereal reads an array of numbers. Bools are numbers to it, but not every byte is one.
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(BoundedInput& input, cereal::BinaryData<T>& data) {
  using Element = std::remove_all_extents_t<std::remove_pointer_t<std::decay_t<T>>>;
  const auto size = static_cast<std::size_t>(data.size);
  if constexpr (std::same_as<Element, bool>) input.check_bools(size);
  input.get(data.data, size);
}

/// Enough to make growth cheap, never more than a few times the bytes that are really there.
inline std::size_t modest_reserve(std::size_t count) { return std::min<std::size_t>(count, 1U << 20U); }

/// Appends elements as they are decoded: memory follows the input, not its claims.
template <class Sequence>
void load_elements(BoundedInput& input, Sequence& sequence) {
  cereal::size_type claimed = 0;
  input(cereal::make_size_tag(claimed));
  sequence.clear();
  for (cereal::size_type i = 0; i < claimed; ++i) input(sequence.emplace_back());
}

}  // namespace tap::state

namespace cereal {

template <class T, class A>
  requires std::is_arithmetic_v<T> &&
      (!std::same_as<T, bool>)void CEREAL_LOAD_FUNCTION_NAME(tap::state::BoundedInput& input,
                                                             std::vector<T, A>& vector) {
    size_type claimed = 0;
    input(make_size_tag(claimed));
    vector.resize(input.count(claimed, sizeof(T)));
    input.get(vector.data(), vector.size() * sizeof(T));
  }
  template <class T, class A>
    requires(!std::is_arithmetic_v<T>)
  void CEREAL_LOAD_FUNCTION_NAME(tap::state::BoundedInput& input, std::vector<T, A>& vector) {
    tap::state::load_elements(input, vector);
  }
  template <class T, class A>
  void CEREAL_LOAD_FUNCTION_NAME(tap::state::BoundedInput& input, std::deque<T, A>& deque) {
    tap::state::load_elements(input, deque);
  }
  template <class K, class V, class H, class E, class A>
  void CEREAL_LOAD_FUNCTION_NAME(tap::state::BoundedInput& input, std::unordered_map<K, V, H, E, A>& map) {
    size_type claimed = 0;
    input(make_size_tag(claimed));
    map.clear();
    // Rehashing on the way is what makes stock cereal four times slower here.
    map.reserve(tap::state::modest_reserve(input.count(claimed, 2)));
    for (size_type i = 0; i < claimed; ++i) {
      K key{};
      V value{};
      input(key, value);
      if (!map.emplace(std::move(key), std::move(value)).second)
        throw tap::state::CodecRefusal("a map key stands twice");
    }
  }

}  // namespace cereal

CEREAL_SETUP_ARCHIVE_TRAITS(tap::state::BoundedInput, tap::state::BinaryOutput)

namespace tap::state {

/// The payload for `value`. Errors: internal, when its serialize() throws.
template <class T>
[[nodiscard]] Result<Bytes> encode(const T& value) {
  try {
    Bytes bytes;
    BinaryOutput output(bytes);
    output(value);
    return bytes;
  } catch (const std::exception& refusal) {
    return Error{Fault::internal, std::string("encoding: ") + refusal.what()};
  }
}

/// Fills `value` from a payload; on error `value` is unspecified. Errors: damaged.
/// Memory: a small multiple of bytes.size(), whatever the bytes claim.
template <class T>
[[nodiscard]] Result<void> decode(ByteView bytes, T& value) {
  try {
    BoundedInput input(bytes);
    input(value);
    if (input.left() != 0) {
      return Error{Fault::damaged, std::to_string(input.left()) + " bytes follow the end of the value"};
    }
    return {};
  } catch (const std::exception& refusal) {
    return Error{Fault::damaged, refusal.what()};
  }
}

}  // namespace tap::state
