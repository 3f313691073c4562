#include "state/text.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "tests/state/archive_equal.hpp"
#include "tests/state/archive_samples.hpp"
#include "tests/state/child.hpp"
#include "tests/state/everything.hpp"
#include "tests/state/says.hpp"

using tap::Bytes;
using tap::Error;
using tap::Fault;
using tap::state::Archive;
using tap::state::from_text;
using tap::state::StateType;
using tap::state::TextFormat;
using tap::state::to_text;
using tap::tests::equal;
using tap::tests::error_of;
using tap::tests::Everything;
using tap::tests::everything_codec;
using tap::tests::in_child;
using tap::tests::sample_archive;
using tap::tests::sample_everything;
using tap::tests::says;

namespace {

constexpr TextFormat kFormats[] = {TextFormat::json, TextFormat::xml};

const StateType* types(std::string_view kind) { return kind == "everything" ? &everything_codec() : nullptr; }

/// The sample archive with a state of a known kind in it.
Archive archive_with(const Everything& value) {
  Archive archive = sample_archive();
  auto payload = everything_codec().encode(value);
  REQUIRE(payload.ok());
  archive.sections[0] = {"all", "everything", Everything::kSchemaVersion, tap::state::PayloadCodec::cereal, *payload};
  return archive;
}

std::string text_of(const Archive& archive, TextFormat format) {
  auto text = to_text(archive, format, types);
  REQUIRE(text.ok());
  return std::move(text).value();
}

void check_round_trip(const Archive& archive) {
  for (const TextFormat format : kFormats) {
    const std::string text = text_of(archive, format);
    const auto back = from_text(text, format, types);
    REQUIRE_MESSAGE(back.ok(), error_of(back).message);
    CHECK(equal(*back, archive));
    CHECK((encode_archive(*back) == encode_archive(archive)));
    CHECK(text.back() == '\n');
  }
}

/// Reads `text` with the first `from` replaced.
Error error_of_edited(std::string text, TextFormat format, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return error_of(from_text(text.replace(at, from.size(), to), format, types));
}

/// What a child says that reads the text: a stack that overflows kills only the child.
std::string refusal_in_child(const std::string& text, TextFormat format) {
  const auto end = in_child([&] {
    const Error error = error_of(from_text(text, format, types));
    return std::to_string(error.exit_code()) + " " + error.message;
  });
  return end.code == 0 ? end.said : "died with " + std::to_string(end.code);
}

std::string repeated(const std::string& piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

}  // namespace

TEST_CASE("text: an archive reads back from JSON and XML as it was") {
  check_round_trip(sample_archive());
  check_round_trip(Archive{});
  check_round_trip(archive_with(sample_everything()));
  check_round_trip(archive_with(Everything{}));
}

TEST_CASE("text: limits are there where there are some, and a text without them stays as it was") {
  Archive archive = sample_archive();
  for (const TextFormat format : kFormats) CHECK(text_of(archive, format).find("limits") == std::string::npos);
  archive.definition.services[1].limits = {{"read_rate", 65'536}, {"keepalive", 60'000}};
  check_round_trip(archive);
  archive.definition.limits = {{"memory_budget", std::uint64_t{1} << 40U}};
  check_round_trip(archive);
  const std::string text = text_of(archive, TextFormat::json);
  CHECK(text.find("memory_budget") != std::string::npos);
  CHECK(says(error_of_edited(text, TextFormat::json, "\"cereal_class_version\": 2", "\"cereal_class_version\": 3"),
             "of a schema that this program does not know"));
}

TEST_CASE("text: every string survives that cereal's own text would change") {
  const std::vector<std::string> strings{std::string("nul\0inside", 10),
                                         std::string(1, '\0'),
                                         "\x01\x02",
                                         "\x1b[0m",
                                         "\x7f",
                                         "tab\t",
                                         "line\nline",
                                         "\r\n",
                                         " leading",
                                         "trailing ",
                                         " ",
                                         "  ",
                                         "base64:",
                                         "base64:eHg=",
                                         "base64:not base64",
                                         "\xff\xfe",
                                         "\xc0\x80",
                                         "\xed\xa0\x80",
                                         "\xef\xbf\xbe",
                                         "\xef\xbf\xbf",
                                         "\xf4\x90\x80\x80",
                                         "\xe2\x82",
                                         "\"quoted\"",
                                         "back\\slash",
                                         "<tag>",
                                         "&amp;",
                                         "<&>",
                                         "]]>",
                                         "<![CDATA[x]]>",
                                         "<!-- x -->",
                                         "&#0;",
                                         "caf\xc3\xa9",
                                         "\xf0\x9f\x98\x80",
                                         "\xc2\x85",
                                         "\xe2\x80\xa8",
                                         "\xef\xbb\xbf",
                                         "null",
                                         "true",
                                         "{}",
                                         ""};
  Everything value = sample_everything();
  value.texts = strings;
  Archive archive = archive_with(value);
  for (const std::string& text : strings) archive.definition.services[0].options[text] = text;
  archive.definition.services[1].listen = strings;
  check_round_trip(archive);
  for (const std::string& text : strings) {
    archive.definition.name = text;
    archive.sections[0].service = text + "1";
    archive.sections[1].kind = text;
    check_round_trip(archive);
  }
}

TEST_CASE("text: plain text stays readable, and anything else is base64") {
  Archive archive = sample_archive();
  archive.definition.name = "caf\xc3\xa9 & <co>";
  CHECK(text_of(archive, TextFormat::json).find("\"caf\xc3\xa9 & <co>\"") != std::string::npos);
  CHECK(text_of(archive, TextFormat::xml).find("caf\xc3\xa9 &amp; &lt;co&gt;") != std::string::npos);
  archive.definition.name = std::string("\0", 1);
  for (const TextFormat format : kFormats) {
    CHECK(text_of(archive, format).find("base64:AA==") != std::string::npos);
  }
}

TEST_CASE("text: numbers at their extremes, not a number and infinities survive") {
  Everything value;
  using Limits = std::numeric_limits<double>;
  value.doubles = {
      Limits::quiet_NaN(), Limits::infinity(),   -Limits::infinity(), -0.0, Limits::max(), Limits::lowest(),
      Limits::min(),       Limits::denorm_min(), Limits::epsilon(),   0.1,  1.0 / 3,       1e-7,
      123456789012345678.0};
  for (const auto i64 : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
    value.numbers.i64 = i64;
    value.numbers.ll = i64;
    value.numbers.u64 = static_cast<std::uint64_t>(i64);
    value.numbers.ull = std::numeric_limits<unsigned long long>::max();
    value.numbers.f32 = std::numeric_limits<float>::max();
    const Archive archive = archive_with(value);
    for (const TextFormat format : kFormats) {
      const auto back = from_text(text_of(archive, format), format, types);
      REQUIRE(back.ok());
      CHECK((encode_archive(*back) == encode_archive(archive)));
    }
  }
}

TEST_CASE("text: the state of an unknown kind is carried as base64") {
  Archive archive = sample_archive();
  for (const std::size_t size : {0U, 1U, 2U, 3U, 4U, 1000U}) {
    archive.sections[0].payload = Bytes(size, '\xfe');
    check_round_trip(archive);
  }
  archive.sections[0].payload = "xx";
  CHECK(text_of(archive, TextFormat::json).find("\"state\": \"eHg=\"") != std::string::npos);
}

TEST_CASE("text: a payload that its kind cannot decode is refused") {
  Archive archive = archive_with(Everything{});
  archive.sections[0].payload += "x";
  for (const TextFormat format : kFormats) {
    const Error error = error_of(to_text(archive, format, types));
    CHECK(error.fault == Fault::damaged);
    CHECK(says(error, "1 bytes follow"));
  }
  archive = archive_with(Everything{});
  archive.sections[0].schema_version = Everything::kSchemaVersion + 1;
  CHECK(says(error_of(to_text(archive, TextFormat::json, types)), "schema version 3"));
}

TEST_CASE("text: an older schema leaves in the newest") {
  Archive archive = archive_with(Everything{});
  archive.sections[0].schema_version = 1;
  for (const TextFormat format : kFormats) {
    const auto back = from_text(text_of(archive, format), format, types);
    REQUIRE(back.ok());
    CHECK(back->sections[0].schema_version == Everything::kSchemaVersion);
  }
}

TEST_CASE("text: another schema version, format version, encoding or lineage is refused with its reason") {
  const std::string json = text_of(archive_with(Everything{}), TextFormat::json);
  const auto edited = [&](const std::string& from, const std::string& to) {
    const Error error = error_of_edited(json, TextFormat::json, from, to);
    CHECK(error.fault == Fault::damaged);
    return error;
  };
  CHECK(says(edited("\"schema_version\": 2", "\"schema_version\": 3"), "'all' has schema version 3"));
  CHECK(says(edited("\"schema_version\": 2", "\"schema_version\": 1"), "this program writes 2"));
  CHECK(says(edited("\"format_version\": 1", "\"format_version\": 2"), "format version 2 is not known"));
  CHECK(says(edited("\"kind\": \"everything\"", "\"kind\": \"nothing\""), "which this program does not know"));
  CHECK(says(edited("\"encoding\": \"cereal\"", "\"encoding\": \"base32\""), "encoded as 'base32'"));
  CHECK(says(edited("01020304-0506", "x1020304-0506"), "is not a lineage"));
  CHECK(says(edited("\"digest\": \"", "\"digest\": \"zz"), "is not hexadecimal"));
  CHECK(says(edited("\"service\": \"echo\"", "\"service\": \"all\""), "'all' has two sections"));
  CHECK(says(edited("\"writer\": \"", "\"writer\": \"a writer's name with more than 32"), "longer than 32 bytes"));
  CHECK(says(edited("\"name\": \"Sample\"", "\"name\": \"base64:?\""), "is not base64"));
  edited("\"generation\": 7", "\"generation\": \"seven\"");
  edited("\"generation\": 7", "\"generation\": -7");
  edited("\"services\": [", "\"services\": 5, \"x\": [");
}

TEST_CASE("text: a feature that this program does not know is 78, as in the archive itself") {
  Archive archive = sample_archive();
  for (const TextFormat format : kFormats) {
    archive.compatible_features = 4;
    CHECK(from_text(text_of(archive, format), format, types).ok());
    archive.incompatible_features = 4;
    CHECK(error_of(from_text(text_of(archive, format), format, types)).fault == Fault::config);
    archive.incompatible_features = 0;
    archive.read_only_features = 4;
    CHECK(error_of(from_text(text_of(archive, format), format, types)).fault == Fault::config);
    archive.read_only_features = 0;
  }
}

TEST_CASE("text: names and lists beyond the archive's limits are refused, not asserted") {
  const std::string json = text_of(sample_archive(), TextFormat::json);
  const std::string longest(256, 'n');
  const auto says_after = [&](const std::string& from, const std::string& to, const char* words) {
    return says(error_of_edited(json, TextFormat::json, from, to), words);
  };
  CHECK(says_after("\"service\": \"fib\"", "\"service\": \"" + longest + "\"", "longer than 255"));
  CHECK(says_after("\"service\": \"fib\"", "\"service\": \"fib\", \"kind\": \"" + longest + "\"", "longer than 255"));
  const std::string ancestor = "{\"generation\": 1, \"digest\": \"" + std::string(32, '0') + "\"},";
  CHECK(says_after("\"ancestors\": [", "\"ancestors\": [" + repeated(ancestor, 255), "more than 256 ancestors"));
}

TEST_CASE("text: every truncation is refused") {
  const auto check = [](const std::string& text, TextFormat format, std::size_t step) {
    for (std::size_t size = 0; size + 2 < text.size(); size += step) {
      const Error error = error_of(from_text(text.substr(0, size), format, types));
      REQUIRE_MESSAGE(error.fault == Fault::damaged, "size ", size);
    }
  };
  for (const TextFormat format : kFormats) {
    check(text_of(sample_archive(), format), format, 1);
    check(text_of(archive_with(sample_everything()), format), format, 13);
  }
}

TEST_CASE("text: a changed byte here and there is refused or read, and never kills") {
  const Archive archive = archive_with(sample_everything());
  for (const TextFormat format : kFormats) {
    const std::string text = text_of(archive, format);
    const auto end = in_child([&] {
      constexpr std::string_view kBytes("\0<>\"}]/- \xff", 10);
      for (std::size_t at = 0; at < text.size(); at += 7) {
        std::string changed = text;
        changed[at] = kBytes[at / 7 % kBytes.size()];
        (void)from_text(changed, format, types).ok();
      }
      return std::string("lived");
    });
    CHECK_MESSAGE(end.code == 0, (format == TextFormat::json ? "JSON" : "XML"));
    CHECK(end.said == "lived");
  }
}

TEST_CASE("text: what is no archive at all is refused") {
  for (const TextFormat format : kFormats) {
    for (const std::string text : {"",
                                   " ",
                                   "{}",
                                   "[]",
                                   "null",
                                   "5",
                                   "\"x\"",
                                   "{\"tapd\": {}}",
                                   "{\"tapd\": []}",
                                   "{\"tapd\": null}",
                                   "<",
                                   "<cereal/>",
                                   "<cereal></cereal>",
                                   "<cereal><tapd/></cereal>",
                                   "<x/>",
                                   "<?xml",
                                   "<!--",
                                   "<![CDATA[",
                                   "\xff\xfe",
                                   "this is a text file\n",
                                   "<cereal><tapd><format_version/></tapd></cereal>",
                                   "<cereal><tapd><format_version>1</format_version></tapd></cereal>",
                                   "{\"tapd\": {\"format_version\": 1}}"}) {
      CHECK_MESSAGE(error_of(from_text(text, format, types)).fault == Fault::damaged, text);
    }
    CHECK(says(error_of(from_text(std::string("{\0}", 3), format, types)), "NUL byte"));
    CHECK(error_of(from_text(tap::state::encode_archive(sample_archive()), format, types)).fault == Fault::damaged);
  }
}

TEST_CASE("text: XML with too few elements in an array is refused") {
  std::string xml = text_of(archive_with(sample_everything()), TextFormat::xml);
  const std::size_t quad = xml.find("<quad>");
  REQUIRE(quad != std::string::npos);
  const std::size_t first = xml.find("<value0>", quad);
  xml.erase(first, xml.find("</value0>", first) + 9 - first);
  CHECK(refusal_in_child(xml, TextFormat::xml).rfind("65 ", 0) == 0);
}

TEST_CASE("text: 400,000 levels of nesting are refused without running off the stack") {
  constexpr std::size_t kLevels = 400'000;
  const auto refused = [](const std::string& text, TextFormat format) {
    const std::string said = refusal_in_child(text, format);
    return said.rfind("65 ", 0) == 0 && said.find("values are nested deeper than 512") != std::string::npos;
  };
  CHECK(refused(repeated("[", kLevels), TextFormat::json));
  CHECK(refused("{\"tapd\":" + repeated("{\"a\":[", kLevels), TextFormat::json));
  CHECK(refused("[\"]]]\\\"]]\"," + repeated("[", kLevels), TextFormat::json));
  CHECK(refused("<cereal>" + repeated("<a>", kLevels), TextFormat::xml));
}

TEST_CASE("text: nesting that is hidden from a careless count is refused too") {
  constexpr std::size_t kLevels = 100'000;
  for (const std::string piece :
       {"<a>/>", "<a></", "<a><!--</a>-->", "<a><!--></a>-->", "<a><![CDATA[</a>]]>", "<a><?x </a>?>",
        "<a><?xml a='?></a>'?>", "<a b='/>'>", "<a b=\"</a>\">", "<a><b/>/>", "<a b='\"'/>'><c b='\"'>",
        "<a><!DOCTYPE x [</a>]>", "<a><!x </a>>", "<a'><b'>", "<a =''><b/>", "<a></a></a><a><a>"}) {
    const std::string said = refusal_in_child("<cereal>" + repeated(piece, kLevels), TextFormat::xml);
    CHECK_MESSAGE(said.rfind("65 ", 0) == 0, piece, " ", said);
  }
  const std::string nested = "<cereal>" + repeated("<a>", kLevels);
  for (const std::string& start : {"<?xml a='?>" + repeated("</a>", kLevels) + "'?>", std::string("<?xml a='?><!--'?>"),
                                   std::string("<?xmla='?>'?><!--'?>"), std::string("<?XML a='?><!--'?>"),
                                   std::string("<?x <!-- ?>"), std::string("<!x <!-- >"), std::string("</cereal>")}) {
    CHECK(refusal_in_child(start + nested + "-->", TextFormat::xml).rfind("65 ", 0) == 0);
  }
  // What follows is one attribute to the one, and another's elements to the other.
  const std::string quoted = "<?xml a='?><x b=\"'?>" + nested + "\"/>";
  CHECK(refusal_in_child(quoted, TextFormat::xml).rfind("65 ", 0) == 0);
  CHECK(refusal_in_child("<cereal><a'>" + repeated("<a>", kLevels) + "'", TextFormat::xml).rfind("65 ", 0) == 0);
}

TEST_CASE("text: wide but shallow texts are not taken for nested ones") {
  Archive archive = sample_archive();
  archive.definition.services[1].listen.assign(2000, "tcp:0");
  archive.definition.services[0].options = {{"brackets", repeated("[{<a>", 1000)}, {"quotes", repeated("\\\"", 999)}};
  check_round_trip(archive);
}
