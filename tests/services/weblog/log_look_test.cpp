// Looks at a log that is written to, renamed, copied and cut in between, as rotating programs do it.
#include "services/weblog/log_look.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "services/weblog/hit.hpp"
#include "services/weblog/log_search.hpp"
#include "tests/support/temporary_directory.hpp"

using namespace tap;
using namespace tap::services::weblog;
using tap::tests::TemporaryDirectory;

namespace {

std::string line(int number, const std::string& agent = "-") {
  return "127.0.0.1 - - [t] \"GET /" + std::to_string(number) + " HTTP/1.1\" 200 1 \"-\" \"" + agent + "\"\n";
}

std::string lines(int first, int last) {
  std::string all;
  for (int i = first; i <= last; ++i) all += line(i);
  return all;
}

/// A log and somebody who looks at it.
struct Followed {
  TemporaryDirectory directory;
  std::string log = directory / "access.log";
  LogLook next;
  LogSeen seen;
  std::uint64_t now_ms = 1000;

  Followed() {
    next.path = log;
    next.keep = 1'000'000;
  }
  void write(const std::string& text, const std::string& name = "access.log") const {
    std::ofstream(directory / name, std::ios::app | std::ios::binary) << text;
  }
  void rename(const std::string& from, const std::string& to) const {
    REQUIRE(::rename((directory / from).c_str(), (directory / to).c_str()) == 0);
  }
  /// The numbers in the requests of what is new, "1 2 3"; looks until there is no more.
  std::string look() {
    std::string numbers;
    do {
      next.now_ms = now_ms;
      seen = next();
      for (const std::string& each : seen.hits.lines) {
        const std::size_t begin = each.find("GET /") + 5;
        numbers += (numbers.empty() ? "" : " ") + each.substr(begin, each.find(' ', begin) - begin);
      }
      malformed += seen.hits.malformed;
      next.files = seen.files;
      next.skip_old = false;
    } while (seen.more);
    return numbers;
  }
  /// A new process, which has the state only.
  void restart() {
    for (LogFile& file : next.files) file = {file.place, nullptr, 0};
  }
  std::uint64_t malformed = 0;
};

/// In nanoseconds; 0 where the file system does not keep it.
std::int64_t birth_ns(const std::string& path) {
  struct statx about {};
  REQUIRE(::statx(AT_FDCWD, path.c_str(), 0, STATX_BTIME, &about) == 0);
  return (about.stx_mask & STATX_BTIME) == 0 ? 0 : about.stx_btime.tv_sec * 1'000'000'000 + about.stx_btime.tv_nsec;
}

}  // namespace

TEST_CASE("weblog look: nothing, then a file, then more of it, each line once") {
  Followed log;
  CHECK(log.look().empty());
  CHECK(log.seen.trouble.empty());
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  CHECK(log.look().empty());
  log.write(lines(3, 3));
  CHECK(log.look() == "3");
}

TEST_CASE("weblog look: what the log holds the first time is left out if wanted, a line that is not complete is not") {
  Followed log;
  log.write(lines(1, 3) + line(4).substr(0, 20));
  log.next.skip_old = true;
  CHECK(log.look().empty());
  log.write(line(4).substr(20) + line(5));
  CHECK(log.look() == "4 5");
  Followed from_start;
  from_start.write(lines(1, 3));
  CHECK(from_start.look() == "1 2 3");
}

TEST_CASE("weblog look: a line waits for its end, however it is cut, and lines that are none are counted") {
  Followed log;
  const std::string text = line(1) + "nonsense\n" + line(2) + "\n" + line(3);
  std::string found;
  for (const char byte : text) {
    log.write(std::string(1, byte));
    const std::string now = log.look();
    found += (found.empty() || now.empty() ? "" : " ") + now;
  }
  CHECK(found == "1 2 3");
  CHECK(log.malformed == 2);
}

TEST_CASE("weblog look: a line without end takes no memory, is counted once, and the next one is found") {
  Followed log;
  log.write(line(1) + std::string(std::size_t{3} << 20U, 'x'));
  CHECK(log.look() == "1");
  CHECK(log.next.files.back().place.skipping);
  log.restart();
  log.write(std::string(100'000, 'y') + "\n" + line(2) + line(3, std::string(kLineBytesMax, 'z')) + line(4));
  CHECK(log.look() == "2 4");
  CHECK(log.malformed == 2);
}

TEST_CASE("weblog look: much is read in bounded pieces") {
  Followed log;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += line(i);
  log.write(text);
  log.next.keep = 3;
  std::size_t hits = 0;
  int looks = 0;
  do {
    log.seen = log.next();
    log.next.files = log.seen.files;
    hits += log.seen.hits.ends.size();
    CHECK(log.seen.hits.lines.size() <= 3);
    CHECK(log.seen.hits.ends.back() == log.seen.hits.xml.size());
    ++looks;
  } while (log.seen.more);
  CHECK(hits == 20'000);
  CHECK(looks >= static_cast<int>(text.size() / (kLookBytesMax + 65'536)));
}

TEST_CASE("weblog look: after a rename the old file is read to its end first, and late lines are not lost") {
  Followed log;
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  log.write(line(3));
  log.rename("access.log", "access.log.1");
  CHECK(log.look() == "3");
  log.write(line(5));
  log.write(line(4), "access.log.1");
  CHECK(log.look() == "4 5");
  CHECK(log.next.files.size() == 2);
  log.write(line(6), "access.log.1");
  log.write(line(7));
  CHECK(log.look() == "6 7");
  log.now_ms += kLingerMs - 1;
  CHECK(log.look().empty());
  CHECK(log.next.files.size() == 2);
  log.write(line(8).substr(0, line(8).size() - 1), "access.log.1");  // its newline never came
  log.now_ms += 1;
  CHECK(log.look() == "8");
  CHECK(log.next.files.size() == 1);
}

TEST_CASE("weblog look: a restart finds the old file under its new name and reads its rest before the new one") {
  Followed log;
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  log.write(lines(3, 4));
  log.restart();
  log.rename("access.log", "access.log.1");
  log.write(lines(5, 6));
  CHECK(log.look() == "3 4 5 6");
  CHECK(log.seen.notes.empty());
  log.restart();
  CHECK(log.look().empty());
}

TEST_CASE("weblog look: rotations that nobody saw are caught up with in their order, what was read before is not") {
  Followed log;
  if (birth_ns(log.directory.path()) == 0) return;
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  log.rename("access.log", "access.log.1");
  log.write(line(3));
  CHECK(log.look() == "3");
  log.now_ms += kLingerMs;
  CHECK(log.look().empty());
  REQUIRE(log.next.files.size() == 1);
  log.restart();
  log.write(line(4));
  for (int round = 0; round < 2; ++round) {
    if (round == 1) log.rename("access.log.2", "access.log.3");
    log.rename("access.log.1", "access.log.2");
    log.rename("access.log", "access.log.1");
    // A birth is as fine as the kernel's tick: the next file is made in another one.
    const std::int64_t before = birth_ns(log.directory / "access.log.1");
    do {
      std::filesystem::remove(log.log);
      log.write(lines(5 + 2 * round, 6 + 2 * round));
    } while (birth_ns(log.log) == before);
    log.write("gzip", "access.log.9.gz");
  }
  log.write(line(3), "access.log.bak");
  CHECK(log.look() == "4 5 6 7 8");
  CHECK(log.malformed == 0);
}

TEST_CASE("weblog look: a log that is cut goes on at its beginning, after the rest from the copy") {
  Followed log;
  log.write(lines(1, 3));
  CHECK(log.look() == "1 2 3");
  log.write(line(4));
  std::filesystem::copy_file(log.log, log.directory / "access.log.1");
  REQUIRE(::truncate(log.log.c_str(), 0) == 0);
  log.write(line(5));
  CHECK(log.look() == "4 5");
  CHECK(log.seen.cuts == 1);
  CHECK(log.seen.notes.empty());
  log.write(line(6));
  CHECK(log.look() == "6");
}

TEST_CASE("weblog look: a log that was cut and has grown beyond its old size is seen to be another one") {
  Followed log;
  log.write(lines(1, 3));
  CHECK(log.look() == "1 2 3");
  REQUIRE(::truncate(log.log.c_str(), 0) == 0);
  log.write(lines(11, 19));
  CHECK(log.look() == "11 12 13 14 15 16 17 18 19");
  REQUIRE(log.seen.notes.size() == 1);
  CHECK(log.seen.notes[0].find("there is no copy of it") != std::string::npos);
  log.restart();
  REQUIRE(::truncate(log.log.c_str(), 0) == 0);
  log.write(line(20));
  CHECK(log.look() == "20");
}

TEST_CASE("weblog look: a file that has gone while nobody looked is told, and the new one is read from its beginning") {
  Followed log;
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  log.restart();
  std::filesystem::remove(log.log);
  CHECK(log.look().empty());
  REQUIRE(log.seen.notes.size() == 1);
  log.write(lines(3, 4));
  CHECK(log.look() == "3 4");
}

TEST_CASE("weblog look: a directory that is not there now is waited for, the place is not forgotten") {
  Followed log;
  log.write(lines(1, 2));
  CHECK(log.look() == "1 2");
  log.restart();
  const std::string elsewhere = log.directory.path() + ".away";
  REQUIRE(::rename(log.directory.path().c_str(), elsewhere.c_str()) == 0);
  CHECK(log.look().empty());
  CHECK(log.seen.trouble.substr(0, 7) == "listing");
  REQUIRE(::rename(elsewhere.c_str(), log.directory.path().c_str()) == 0);
  log.write(line(3));
  CHECK(log.look() == "3");
}

TEST_CASE("weblog look: a directory, a pipe and a file that may not be read are trouble, and stop nobody") {
  Followed log;
  std::filesystem::create_directory(log.log);
  CHECK(log.look().empty());
  CHECK(log.seen.trouble == log.log + " is not a file");
  std::filesystem::remove(log.log);
  REQUIRE(::mkfifo(log.log.c_str(), 0600) == 0);
  CHECK(log.look().empty());
  CHECK_FALSE(log.seen.trouble.empty());
  std::filesystem::remove(log.log);
  log.write(line(1));
  CHECK(log.look() == "1");
  CHECK(log.seen.trouble.empty());
}

TEST_CASE("weblog look: a name for rotated logs is one with numbers behind") {
  for (const char* name : {"a.log.1", "a.log-20261124", "a.log.2026-11-24", "a.log.2026-11-24T10:00"}) {
    CHECK(is_rotated_name(name, "a.log"));
  }
  for (const char* name : {"a.log", "a.log.", "a.log1", "a.log.1.gz", "a.log.bak", "b.log.1", "a.lo"}) {
    CHECK_FALSE(is_rotated_name(name, "a.log"));
  }
}
