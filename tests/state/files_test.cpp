#include "state/files.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>
#include <cstring>

#include "tests/state/allocations.hpp"
#include "tests/state/says.hpp"
#include "tests/state/weak.hpp"
#include "tests/support/temporary_directory.hpp"

using tap::Bytes;
using tap::ByteView;
using tap::Error;
using tap::Fault;
using tap::Fd;
using tap::Result;
using tap::state::copy_file;
using tap::state::list_directory;
using tap::state::read_file;
using tap::state::replace_file;
using tap::tests::error_of;
using tap::tests::exists;
using tap::tests::FileSizeLimit;
using tap::tests::read_text;
using tap::tests::says;
using tap::tests::TemporaryDirectory;
using tap::tests::Unprivileged;
using tap::tests::write_text;

namespace {

Fd open_dir(const TemporaryDirectory& directory) {
  auto fd = tap::state::open_directory(AT_FDCWD, directory.path());
  REQUIRE(fd.ok());
  return std::move(fd).value();
}

struct stat look_at(const std::string& path) {
  struct stat found {};
  REQUIRE(::lstat(path.c_str(), &found) == 0);
  return found;
}

void make_socket(const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

/// That a replacement failed and left nothing but the old file.
void check_untouched(const TemporaryDirectory& directory, const Fd& dir) {
  CHECK(read_text(directory / "a.tap") == "old");
  const auto names = list_directory(dir.get());
  REQUIRE(names.ok());
  CHECK(*names == std::vector<std::string>{"a.tap"});
}

}  // namespace

TEST_CASE("files: a file is read whole, the empty one and one with every byte too") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  Bytes all;
  for (int i = 0; i < 100'000; ++i) all.push_back(static_cast<char>(i & 0xff));
  for (const Bytes& content : {Bytes(), Bytes("x"), Bytes(4096, 'p'), Bytes(4097, 'q'), all}) {
    write_text(directory / "f", content);
    const auto read = read_file(dir.get(), "f");
    REQUIRE(read.ok());
    CHECK((*read == content));
  }
}

TEST_CASE("files: a file whose size is not told beforehand is read to its end") {
  const auto read = read_file(AT_FDCWD, "/proc/self/status");
  REQUIRE(read.ok());
  CHECK(read->rfind("Name:", 0) == 0);
  CHECK(read->size() > 100);
}

TEST_CASE("files: what is not a regular file is 66 and named, and does not hang") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  REQUIRE(::mkdir((directory / "sub").c_str(), 0700) == 0);
  make_socket(directory / "sock");
  const auto check = [&](int at, const std::string& name, const char* words) {
    const Error error = error_of(read_file(at, name));
    CHECK(error.fault == Fault::no_input);
    CHECK_MESSAGE(says(error, words), error.message);
    CHECK(says(error, name));
  };
  check(dir.get(), "fifo", "is a FIFO, not a file");
  check(dir.get(), "sub", "is a directory, not a file");
  check(dir.get(), "sock", "is a socket or a device");
  check(dir.get(), "nothing", "No such file or directory");
  check(AT_FDCWD, "/dev/null", "is a device, not a file");
  CHECK(error_of(copy_file(dir.get(), "fifo", dir.get(), "copy")).fault == Fault::no_input);
  CHECK_FALSE(exists(directory / "copy"));
}

TEST_CASE("files: a file that may not be read is 77") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "secret", "x");
  REQUIRE(::chmod((directory / "secret").c_str(), 0) == 0);
  const Unprivileged nobody(directory.path());
  CHECK(error_of(read_file(dir.get(), "secret")).fault == Fault::permission);
}

TEST_CASE("files: a file that cannot be opened for another reason than its name is 70, not 66") {
  const TemporaryDirectory directory;
  write_text(directory / "there", "content");
  const Fd dir = open_dir(directory);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const Result<Bytes> read = read_file(dir.get(), "there");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(error_of(read).fault == Fault::internal);
  CHECK(says(error_of(read), "opening there"));
}

TEST_CASE("files: a sparse file larger than any memory is refused, not tried") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "huge", "x");
  if (::truncate((directory / "huge").c_str(), off_t{1} << 43) != 0) {
    MESSAGE("this file system has no files of 8 TiB");
    return;
  }
  const tap::tests::AllocationWatch watch;
  Fault fault = Fault::usage;
  CHECK_NOTHROW(fault = error_of(read_file(dir.get(), "huge")).fault);
  CHECK(fault != Fault::usage);
  CHECK(watch.largest() < std::size_t{1} << 40);
}

TEST_CASE("files: a replacement is there, private, and leaves nothing beside it") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "a.tap", "old");
  write_text(directory / "a.tap.tmp", "the rest of an interrupted write");
  Bytes seen;
  const auto check = [&](ByteView read_back) -> Result<void> {
    seen = read_back;
    CHECK(read_text(directory / "a.tap") == "old");
    return {};
  };
  REQUIRE(replace_file(dir.get(), "a.tap", "new", check).ok());
  CHECK(seen == "new");
  CHECK(read_text(directory / "a.tap") == "new");
  CHECK((look_at(directory / "a.tap").st_mode & 07777) == 0600);
  CHECK_FALSE(exists(directory / "a.tap.tmp"));
  REQUIRE(replace_file(dir.get(), "b.tap", "", nullptr).ok());
  CHECK(exists(directory / "b.tap"));
}

TEST_CASE("files: a check that says no keeps the old file") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "a.tap", "old");
  const auto no = [](ByteView) -> Result<void> { return Error{Fault::damaged, "not what was written"}; };
  const Error error = error_of(replace_file(dir.get(), "a.tap", "new", no));
  CHECK(error.fault == Fault::damaged);
  CHECK(error.message == "checking a.tap.tmp before it replaces a.tap: not what was written");
  check_untouched(directory, dir);
}

TEST_CASE("files: a write that finds no room keeps the old file") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "a.tap", "old");
  write_text(directory / "b", Bytes(100'000, 'b'));
  {
    const FileSizeLimit limit(4096);
    // The first write is cut short at the limit, the second fails.
    const Error error = error_of(replace_file(dir.get(), "a.tap", Bytes(100'000, 'n'), nullptr));
    CHECK(error.fault == Fault::internal);
    CHECK(says(error, "a.tap.tmp: writing: File too large"));
    CHECK_FALSE(copy_file(dir.get(), "b", dir.get(), "a.tap").ok());
  }
  REQUIRE(::unlink((directory / "b").c_str()) == 0);
  check_untouched(directory, dir);
}

TEST_CASE("files: a full disk is told in the system's words") {
  const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full.open());
  const Error error = error_of(tap::state::write_all(full.get(), "x"));
  CHECK(error.fault == Fault::internal);
  CHECK(error.message == "writing: No space left on device");
  CHECK(tap::state::write_all(full.get(), "").ok());
}

TEST_CASE("files: a directory that may not be written keeps the old file, 77") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "a.tap", "old");
  {
    const Unprivileged nobody(directory.path());
    const Error error = error_of(replace_file(dir.get(), "a.tap", "new", nullptr));
    CHECK(error.fault == Fault::permission);
    CHECK(says(error, "creating a.tap.tmp: Permission denied"));
    CHECK(error_of(copy_file(dir.get(), "a.tap", dir.get(), "b")).fault == Fault::permission);
    CHECK(error_of(tap::state::make_directory(dir.get(), "sub")).fault == Fault::permission);
  }
  check_untouched(directory, dir);
}

TEST_CASE("files: a directory in the place of the temporary file or of the target keeps everything") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  REQUIRE(::mkdir((directory / "a.tap.tmp").c_str(), 0700) == 0);
  CHECK(says(error_of(replace_file(dir.get(), "a.tap", "new", nullptr)), "removing an old a.tap.tmp"));
  CHECK_FALSE(exists(directory / "a.tap"));
  REQUIRE(::mkdir((directory / "b.tap").c_str(), 0700) == 0);
  const Error error = error_of(replace_file(dir.get(), "b.tap", "new", nullptr));
  CHECK(says(error, "renaming b.tap.tmp to b.tap"));
  CHECK(S_ISDIR(look_at(directory / "b.tap").st_mode));
  CHECK_FALSE(exists(directory / "b.tap.tmp"));
}

TEST_CASE("files: a link or a FIFO laid as the temporary file is removed, never followed or opened") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "victim", "precious");
  REQUIRE(::symlink("victim", (directory / "a.tap.tmp").c_str()) == 0);
  REQUIRE(replace_file(dir.get(), "a.tap", "new", nullptr).ok());
  REQUIRE(::link((directory / "victim").c_str(), (directory / "a.tap.tmp").c_str()) == 0);
  REQUIRE(replace_file(dir.get(), "a.tap", "newer", nullptr).ok());
  CHECK(read_text(directory / "victim") == "precious");
  REQUIRE(::mkfifo((directory / "a.tap.tmp").c_str(), 0600) == 0);
  REQUIRE(replace_file(dir.get(), "a.tap", "newest", nullptr).ok());
  CHECK(read_text(directory / "a.tap") == "newest");
  CHECK(S_ISREG(look_at(directory / "a.tap").st_mode));
}

TEST_CASE("files: a replaced link is replaced itself, what it led to stays") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  write_text(directory / "victim", "precious");
  REQUIRE(::symlink("victim", (directory / "a.tap").c_str()) == 0);
  REQUIRE(replace_file(dir.get(), "a.tap", "new", nullptr).ok());
  CHECK(read_text(directory / "victim") == "precious");
  CHECK(S_ISREG(look_at(directory / "a.tap").st_mode));
}

TEST_CASE("files: a path is replaced in its directory") {
  const TemporaryDirectory directory;
  REQUIRE(tap::state::replace_path(directory / "x", "one").ok());
  REQUIRE(tap::state::replace_path(directory / "x", "two").ok());
  CHECK(read_text(directory / "x") == "two");
  CHECK_FALSE(tap::state::replace_path(directory / "no/x", "three").ok());
  CHECK(says(error_of(tap::state::replace_path(directory / "no/x", "three")), "/no"));
  CHECK_FALSE(tap::state::replace_path("/dev/null/x", "three").ok());
}

TEST_CASE("files: a copy has the content and an inode of its own") {
  const TemporaryDirectory directory;
  const TemporaryDirectory other;
  const Fd dir = open_dir(directory);
  const Fd to = open_dir(other);
  write_text(directory / "a", Bytes(70'000, 'a'));
  write_text(other / "b", "old");
  REQUIRE(copy_file(dir.get(), "a", to.get(), "b").ok());
  CHECK((read_text(other / "b") == Bytes(70'000, 'a')));
  CHECK(look_at(other / "b").st_ino != look_at(directory / "a").st_ino);
  CHECK(look_at(directory / "a").st_nlink == 1);
  CHECK((look_at(other / "b").st_mode & 07777) == 0600);
  CHECK_FALSE(exists(other / "b.tmp"));
  write_text(directory / "a", "changed");
  CHECK((read_text(other / "b") == Bytes(70'000, 'a')));
  CHECK(error_of(copy_file(dir.get(), "nothing", to.get(), "b")).fault == Fault::no_input);
  CHECK((read_text(other / "b") == Bytes(70'000, 'a')));
}

TEST_CASE("files: a directory is made private, and found when it is there") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  REQUIRE(tap::state::make_directory(dir.get(), "sub").ok());
  CHECK((look_at(directory / "sub").st_mode & 07777) == 0700);
  REQUIRE(tap::state::make_directory(dir.get(), "sub").ok());
  CHECK_FALSE(tap::state::make_directory(dir.get(), "one/two").ok());
  write_text(directory / "file", "");
  CHECK(says(error_of(tap::state::make_directory(dir.get(), "file")), "opening directory file"));
  CHECK(error_of(tap::state::open_directory(AT_FDCWD, directory / "no")).fault == Fault::cannot_create);
}

TEST_CASE("files: a directory is listed in order, without itself and its parent") {
  const TemporaryDirectory directory;
  const Fd dir = open_dir(directory);
  for (const char* name : {"b", "a", ".hidden", "..."}) write_text(directory / name, "");
  for (int again = 0; again < 2; ++again) {
    const auto names = list_directory(dir.get());
    REQUIRE(names.ok());
    CHECK(*names == std::vector<std::string>{"...", ".hidden", "a", "b"});
  }
  const Fd file(::open((directory / "a").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(list_directory(file.get()).ok());
}
