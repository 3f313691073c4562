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

template <class T>
inline constexpr bool kIsVariant = false;
template <class... Ones>
inline constexpr bool kIsVariant<std::variant<Ones...>> = true;

template <class State>
concept HasPrevious = requires {
  typename State::Previous;
};

template <HasPrevious State>
class OlderCerealState;

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
    if constexpr (HasPrevious<State>) {
      if (version < State::kSchemaVersion) {
        OlderCerealState<State> older;
        if (Result<void> restored = older.restore(payload, version); !restored) return restored;
        Result<State> upgraded = older.upgraded();
        if (!upgraded) return std::move(upgraded).error();
        state = std::move(upgraded).value();
        return {};
      }
    }
    if (version == 0) return Error{Fault::damaged, "there is no schema version 0"};
    return state::decode(payload, state);
  }
  [[nodiscard]] std::unique_ptr<OlderState<State>> make_older() const override {
    if constexpr (HasPrevious<State>) return std::make_unique<OlderCerealState<State>>();
    else return nullptr;
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
      if constexpr (kIsVariant<Change>) {
        std::visit([&state](const auto& one) { apply(state, one); }, change);
      } else {
        apply(state, change);
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

/// A state one version older, or older still.
template <HasPrevious State>
class OlderCerealState final : public OlderState<State> {
 public:
  using Previous = typename State::Previous;
  static_assert(Previous::kSchemaVersion + 1 == State::kSchemaVersion,
                "Previous is the version before, not any older one");

  [[nodiscard]] Result<void> restore(ByteView payload, std::uint32_t version) override {
    older_.reset();
    if (version < Previous::kSchemaVersion) older_ = codec_.make_older();
    return older_ != nullptr ? older_->restore(payload, version) : codec_.decode(payload, version, state_);
  }
  [[nodiscard]] Result<void> apply_change(ByteView bytes, std::uint32_t version) override {
    if (version < Previous::kSchemaVersion && older_ != nullptr) return older_->apply_change(bytes, version);
    if (Result<void> stepped = step(); !stepped) return stepped;
    return codec_.apply_change(state_, bytes, version);
  }
  [[nodiscard]] Result<State> upgraded() override {
    if (Result<void> stepped = step(); !stepped) return std::move(stepped).error();
    try {
      State next = upgrade(std::move(state_));
      return next;
    } catch (const std::exception& thrown) {
      return Error{Fault::internal,
                   "upgrading to schema version " + std::to_string(State::kSchemaVersion) + ": " + thrown.what()};
    }
  }

 private:
  /// From what is older still to Previous.
  Result<void> step() {
    if (older_ == nullptr) return {};
    Result<Previous> stepped = older_->upgraded();
    if (!stepped) return std::move(stepped).error();
    state_ = std::move(stepped).value();
    older_.reset();
    return {};
  }

  CerealCodec<Previous> codec_;
  Previous state_{};
  std::unique_ptr<OlderState<Previous>> older_;
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
