#include "state/archive.hpp"

#include <doctest/doctest.h>

#include <csignal>

#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/child.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Fault;
using tap::state::Archive;
using tap::state::archive_digest;
using tap::state::decode_archive;
using tap::state::encode_archive;
using tap::state::kAncestorsMax;
using tap::state::kSectionNameBytesMax;
using tap::state::make_ancestor;
using tap::state::sha256;
using tap::tests::build_archive;
using tap::tests::definition_image;
using tap::tests::equal;
using tap::tests::error_of;
using tap::tests::in_child;
using tap::tests::sample_archive;
using tap::tests::SectionImage;

namespace {

void check_round_trip(const Archive& archive) {
  const Bytes bytes = encode_archive(archive);
  const auto back = decode_archive(bytes);
  REQUIRE(back.ok());
  CHECK(equal(*back, archive));
  CHECK(encode_archive(*back) == bytes);
}

}  // namespace

TEST_CASE("archive: the complete one reads back as it was written") { check_round_trip(sample_archive()); }

TEST_CASE("archive: the emptiest one reads back as it was written") {
  check_round_trip(Archive{});
  Archive none_of_it = sample_archive();
  none_of_it.sections.clear();
  none_of_it.ancestors.clear();
  none_of_it.definition.services.clear();
  check_round_trip(none_of_it);
}

TEST_CASE("archive: every field at its limits reads back as it was written") {
  Archive archive = sample_archive();
  constexpr std::uint64_t kMost = ~std::uint64_t{0};
  archive.compatible_features = kMost;
  archive.generation = archive.base_lsn = archive.epoch = archive.parent_generation = archive.created_ms = kMost;
  archive.writer = std::string(32, 'w');
  archive.ancestors.assign(kAncestorsMax, make_ancestor(kMost, sha256("x")));
  archive.sections.push_back({std::string(kSectionNameBytesMax, 's'), std::string(kSectionNameBytesMax, '\xff'), 9,
                              tap::state::PayloadCodec::cereal, Bytes(100'000, '\0')});
  check_round_trip(archive);
}

TEST_CASE("archive: equal archives give equal bytes, different ones different bytes and digests") {
  const Bytes bytes = encode_archive(sample_archive());
  CHECK(encode_archive(sample_archive()) == bytes);
  Archive other = sample_archive();
  other.sections[0].payload.back() = 'x';
  CHECK(encode_archive(other) != bytes);
  CHECK(archive_digest(encode_archive(other)) != archive_digest(bytes));
}

TEST_CASE("archive: the digest in its trailer is the SHA-256 of all bytes before it") {
  const Bytes bytes = encode_archive(sample_archive());
  CHECK(archive_digest(bytes) == sha256(tap::ByteView(bytes).substr(0, bytes.size() - 40)));
}

TEST_CASE("archive: what is written by hand after FORMAT.md is read, and the encoder writes the same") {
  Archive archive;
  archive.definition.name = "Hand";
  archive.sections.push_back({"a", "echo", 2, tap::state::PayloadCodec::cereal, "pay"});
  SectionImage state;
  state.service = "a";
  state.kind = "echo";
  state.schema_version = 2;
  state.payload = "pay";
  const Bytes by_hand = build_archive({definition_image("Hand"), state});
  CHECK(encode_archive(archive) == by_hand);
  const auto back = decode_archive(by_hand);
  REQUIRE(back.ok());
  CHECK(equal(*back, archive));
}

TEST_CASE("archive: a section is found by its service's name") {
  const Archive archive = sample_archive();
  REQUIRE(archive.find("fib") != nullptr);
  CHECK(archive.find("fib")->payload == archive.sections[0].payload);
  CHECK(archive.find("nobody") == nullptr);
}

TEST_CASE("archive: an ancestor is a generation and the first half of a digest") {
  const auto digest = sha256("abc");
  const auto ancestor = make_ancestor(9, digest);
  CHECK(ancestor.generation == 9);
  CHECK(tap::to_hex({ancestor.digest.data(), ancestor.digest.size()}) == digest.text().substr(0, 32));
}

TEST_CASE("archive: a successor is one generation on, remembers the one before and keeps the rest") {
  const Archive archive = sample_archive();
  const auto digest = archive_digest(encode_archive(archive));
  const Archive next = tap::state::successor(archive, digest);
  CHECK(next.generation == 8);
  CHECK(next.lineage == archive.lineage);
  CHECK(next.parent == archive.parent);
  CHECK(next.definition == archive.definition);
  CHECK(next.sections == archive.sections);
  REQUIRE(next.ancestors.size() == 3);
  CHECK(next.ancestors.back() == make_ancestor(7, digest));
  CHECK(next.created_ms > archive.created_ms);
  CHECK(next.writer == tap::state::writer_name());
  check_round_trip(next);
}

TEST_CASE("archive: of too many ancestors the second-oldest is forgotten, never the first") {
  Archive archive = sample_archive();
  archive.ancestors.clear();
  for (std::uint64_t generation = 1; generation <= 2 * kAncestorsMax; ++generation) {
    tap::state::remember_ancestor(archive, generation, sha256(std::to_string(generation)));
    REQUIRE(archive.ancestors.size() <= kAncestorsMax);
    REQUIRE(archive.ancestors.front() == make_ancestor(1, sha256("1")));
    REQUIRE(archive.ancestors.back().generation == generation);
  }
  REQUIRE(archive.ancestors.size() == kAncestorsMax);
  CHECK(archive.ancestors[1].generation == kAncestorsMax + 2);
  check_round_trip(archive);
}

TEST_CASE("archive: what the encoder requires is asserted") {
  const auto dies = [](const Archive& archive) {
    const auto end = in_child([&] { return encode_archive(archive); });
    return end.code == 128 + SIGABRT && end.said.find("assertion failed") != std::string::npos;
  };
  Archive archive = sample_archive();
  archive.writer = std::string(33, 'w');
  CHECK(dies(archive));
  archive = sample_archive();
  archive.sections[0].service = std::string(kSectionNameBytesMax + 1, 's');
  CHECK(dies(archive));
  archive = sample_archive();
  archive.sections[0].kind = std::string(kSectionNameBytesMax + 1, 'k');
  CHECK(dies(archive));
  archive = sample_archive();
  archive.ancestors.resize(kAncestorsMax + 1);
  CHECK(dies(archive));
}

TEST_CASE("archive: the wall clock is in milliseconds, the writer names the program") {
  CHECK(tap::state::wall_clock_ms() > 1'600'000'000'000);
  CHECK(tap::state::wall_clock_ms() < 16'000'000'000'000);
  CHECK(tap::state::writer_name().rfind("tapd ", 0) == 0);
  CHECK(tap::state::writer_name().size() <= 32);
}

TEST_CASE("archive: as many sections as the format allows can be read, and what is read can be written") {
  // 65,536 sections are the format's limit: a definition and 65,535 states, without room for ancestors.
  std::vector<SectionImage> sections{definition_image("Many")};
  for (std::size_t i = 1; i < tap::state::kSectionsMax; ++i) {
    SectionImage state;
    state.service = std::to_string(i);
    sections.push_back(state);
  }
  const Bytes bytes = build_archive(sections);
  const auto end = in_child([&]() -> std::string {
    const auto archive = decode_archive(bytes);
    if (!archive.ok()) return "refused";
    return encode_archive(*archive) == bytes ? "the same" : "different";
  });
  CHECK_MESSAGE(end.code == 0, end.said);
  CHECK((end.said == "refused" || end.said == "the same"));
  sections.pop_back();
  const auto fewer = decode_archive(build_archive(sections));
  REQUIRE(fewer.ok());
  CHECK(fewer->sections.size() == tap::state::kSectionsMax - 2);
  CHECK(encode_archive(*fewer) == build_archive(sections));
}

TEST_CASE("archive: more sections than the format allows are refused") {
  std::vector<SectionImage> sections{definition_image("Many")};
  for (std::size_t i = 0; i < tap::state::kSectionsMax; ++i) {
    SectionImage state;
    state.service = std::to_string(i);
    sections.push_back(state);
  }
  const auto error = error_of(decode_archive(build_archive(sections)));
  CHECK(error.fault == Fault::damaged);
}
