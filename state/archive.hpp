// Archive: a whole application in one file, definition and state, self-contained and checksummed.
//
// Format: state/FORMAT.md, section 2.
// Tests: tests/state/archive_test.cpp
//
// A value: it knows nothing of files. The store (store.hpp) decides where archives lie and which one counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "state/base/bytes.hpp"
#include "state/base/result.hpp"
#include "state/definition.hpp"
#include "state/digest.hpp"

namespace tap::state {

inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::size_t kSectionsMax = 65'536;
/// States in one archive: its definition and its ancestors are sections too.
inline constexpr std::size_t kStatesMax = kSectionsMax - 2;
inline constexpr std::size_t kSectionNameBytesMax = 255;
/// How many ancestors an archive remembers: the first of its lineage and the newest ones.
inline constexpr std::size_t kAncestorsMax = 256;

/// How a section's payload is to be read.
enum class PayloadCodec : std::uint32_t { cereal = 1 };

/// One service's state.
struct Section {
  std::string service;  ///< the service's name
  std::string kind;
  std::uint32_t schema_version = 1;
  PayloadCodec codec = PayloadCodec::cereal;
  Bytes payload;

  bool operator==(const Section&) const = default;
};

/// An earlier archive of the same lineage, by generation and the first half of its SHA-256.
struct Ancestor {
  std::uint64_t generation = 0;
  std::array<char, 16> digest{};

  bool operator==(const Ancestor&) const = default;
};

struct Archive {
  std::uint64_t compatible_features = 0;    ///< unknown bits: ignored
  std::uint64_t read_only_features = 0;     ///< unknown bits: refused; for what may be read but not continued
  std::uint64_t incompatible_features = 0;  ///< unknown bits: refused
  Lineage lineage;
  std::uint64_t generation = 1;
  std::uint64_t base_lsn = 0;  ///< the last journal record folded into this state; 0 when there is no journal
  std::uint64_t epoch = 0;     ///< of the store's opener that wrote it
  Lineage parent;              ///< none, or the lineage this one was started from
  std::uint64_t parent_generation = 0;
  Digest parent_digest;
  std::uint64_t created_ms = 0;  ///< since 1970 UTC; for people only, nothing is ordered by it
  std::string writer;            ///< program and version, at most 32 bytes
  std::vector<Ancestor> ancestors;
  Definition definition;
  std::vector<Section> sections;
  /// Journal records of services that were not configured when they were to be folded in: payloads are rows of records
  /// as the journal has them (journal_format.hpp), schema versions theirs. A service may have several, oldest first.
  std::vector<Section> pending;

  [[nodiscard]] const Section* find(std::string_view service) const;
};

/// The file's bytes. Equal archives give equal bytes. REQUIRES: names within kSectionNameBytesMax, writer within 32.
[[nodiscard]] Bytes encode_archive(const Archive& archive);

/// Reads bytes that may be anything. Every bit is covered by a checksum: what is accepted is what was written.
/// Errors: damaged (empty, cut, changed, not an archive: the message says which and where); config when the format
/// or an incompatible feature is newer than this program.
/// Memory: a small multiple of the bytes, whatever they claim; with Payloads::checked far less: every check is made,
/// but the payloads of the archive that is returned are empty.
enum class Payloads : std::uint8_t { copied, checked };
[[nodiscard]] Result<Archive> decode_archive(ByteView bytes, Payloads payloads = Payloads::copied);

/// Errors: config, when `archive` uses a feature that this program does not know.
[[nodiscard]] Result<void> check_features(const Archive& archive);

/// The SHA-256 an encoded archive carries in its trailer. REQUIRES: decode_archive() accepts `bytes`.
[[nodiscard]] Digest archive_digest(ByteView bytes);

/// The base LSN in the header, when the header is right; nothing is known of the rest then.
[[nodiscard]] std::optional<std::uint64_t> archive_base_lsn(ByteView bytes);

/// The definition, when header and definition are right; nothing is known of the rest then.
[[nodiscard]] std::optional<Definition> archive_definition(ByteView bytes);

/// `digest` as an ancestor entry.
[[nodiscard]] Ancestor make_ancestor(std::uint64_t generation, const Digest& digest);

/// Adds the archive that `next` follows to next's ancestors, forgetting the second-oldest when there are too many
/// (the first of a lineage is the one that people keep starting from).
void remember_ancestor(Archive& next, std::uint64_t generation, const Digest& digest);

/// What follows the archive with this digest in its lineage: generation + 1, the older one remembered.
[[nodiscard]] Archive successor(const Archive& archive, const Digest& digest);
/// The same without sections and pending records, for one who has newer ones: they may be large.
[[nodiscard]] Archive successor_without_states(const Archive& archive, const Digest& digest);

/// The beginning of a lineage of its own that goes on from this archive: what a rewind or an edited copy is.
[[nodiscard]] Archive child_of(const Archive& archive, const Digest& digest);

/// Milliseconds since 1970 UTC, now.
[[nodiscard]] std::uint64_t wall_clock_ms();

/// "tapd 0.1.0"
[[nodiscard]] std::string writer_name();

}  // namespace tap::state
