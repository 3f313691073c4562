// Text codec: the same states through cereal's JSON and XML archives, for `tap show`, `tap convert` and people.
//
// Heavy (rapidjson and rapidxml): included once per kind, by the .cpp file with its state's serialize().
//
// Stock cereal cuts strings at NUL when it reads, and XML cannot hold control characters at all. So a string that is
// not plain text is written as "base64:" and its base64; one that begins with "base64:" anyway is written so too.
#pragma once

#include <cereal/archives/json.hpp>
#include <cereal/archives/xml.hpp>

#include "state/codec.hpp"
#include "state/state_codec.hpp"

namespace tap::state {

[[nodiscard]] std::string to_plain_text(std::string_view bytes);
/// Throws CodecRefusal when what follows "base64:" is not base64.
[[nodiscard]] std::string from_plain_text(std::string text);

/// Exactly one of the two is set.
class TextOutput {
 public:
  cereal::JSONOutputArchive* json = nullptr;
  cereal::XMLOutputArchive* xml = nullptr;

  template <class T>
  void named(const char* name, const T& value) {
    if (json != nullptr) (*json)(cereal::make_nvp(name, value));
    if (xml != nullptr) (*xml)(cereal::make_nvp(name, value));
  }
};

class TextInput {
 public:
  cereal::JSONInputArchive* json = nullptr;
  cereal::XMLInputArchive* xml = nullptr;

  template <class T>
  void named(const char* name, T& value) {
    if (json != nullptr) (*json)(cereal::make_nvp(name, value));
    if (xml != nullptr) (*xml)(cereal::make_nvp(name, value));
  }
};

/// StateCodec by cereal's serialize().
template <class State>
class CerealCodec final : public StateCodec<State> {
 public:
  using Change = typename StateCodec<State>::Change;

  [[nodiscard]] std::uint32_t schema_version() const override { return State::kSchemaVersion; }
  [[nodiscard]] Result<Bytes> initial() const override { return encode(State{}); }
  [[nodiscard]] Result<Bytes> encode(const State& state) const override { return state::encode(state); }

  [[nodiscard]] Result<void> decode(ByteView payload, std::uint32_t version, State& state) const override {
    if (version > State::kSchemaVersion) {
      return Error{Fault::config, "the state has schema version " + std::to_string(version) +
                                      ", this program knows versions up to " + std::to_string(State::kSchemaVersion)};
    }
    return state::decode(payload, state);
  }
  [[nodiscard]] Result<void> encode_change(const Change& change, Bytes& out) const override {
    try {
      BinaryOutput output(out);
      output(change);
      return {};
    } catch (const std::exception& refusal) {
      return Error{Fault::internal, std::string("encoding a change: ") + refusal.what()};
    }
  }
  [[nodiscard]] Result<void> apply_change(State& state, ByteView bytes, std::uint32_t version) const override {
    if (version > State::kSchemaVersion) {
      return Error{Fault::config, "a change has schema version " + std::to_string(version) +
                                      ", this program knows versions up to " + std::to_string(State::kSchemaVersion)};
    }
    if constexpr (std::same_as<Change, NoChange>) {
      return Error{Fault::damaged, "there is a change of a state that is recorded as a whole only"};
    } else {
      Change change{};
      if (Result<void> decoded = state::decode(bytes, change); !decoded) return decoded;
      if constexpr (requires { apply(state, change); }) {
        apply(state, change);
      } else {
        std::visit([&state](const auto& one) { apply(state, one); }, change);
      }
      return {};
    }
  }
  [[nodiscard]] Result<void> check(ByteView payload, std::uint32_t version) const override {
    State state{};
    return decode(payload, version, state);
  }
  void write_text(TextOutput& output, ByteView payload, std::uint32_t version) const override {
    State state{};
    if (Result<void> decoded = decode(payload, version, state); !decoded) throw CodecRefusal(decoded.error().message);
    output.named("state", state);
  }
  [[nodiscard]] Bytes read_text(TextInput& input) const override {
    State state{};
    input.named("state", state);
    Result<Bytes> payload = encode(state);
    if (!payload) throw CodecRefusal(payload.error().message);
    return std::move(payload).value();
  }
};

/// The one codec of a state type.
template <class State>
[[nodiscard]] const StateCodec<State>& cereal_codec() {
  static const CerealCodec<State> codec;
  return codec;
}

}  // namespace tap::state

namespace cereal {

// Better matches than cereal's own templates, for std::string only.
inline void CEREAL_SAVE_FUNCTION_NAME(JSONOutputArchive& archive, const std::string& text) {
  archive.saveValue(tap::state::to_plain_text(text));
}
inline void CEREAL_LOAD_FUNCTION_NAME(JSONInputArchive& archive, std::string& text) {
  archive.loadValue(text);
  text = tap::state::from_plain_text(std::move(text));
}
inline void CEREAL_SAVE_FUNCTION_NAME(XMLOutputArchive& archive, const std::string& text) {
  archive.saveValue(tap::state::to_plain_text(text));
}
/// Stock cereal follows a null pointer when an XML text has fewer elements than the array.
template <class T, std::size_t Size>
void CEREAL_LOAD_FUNCTION_NAME(XMLInputArchive& archive, std::array<T, Size>& array) {
  size_type found = 0;
  archive.loadSize(found);
  if (found != Size) throw tap::state::CodecRefusal("an array has " + std::to_string(found) + " elements");
  for (T& element : array) archive(element);
}
inline void CEREAL_LOAD_FUNCTION_NAME(XMLInputArchive& archive, std::string& text) {
  archive.loadValue(text);
  text = tap::state::from_plain_text(std::move(text));
}

}  // namespace cereal
