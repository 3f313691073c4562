// A hundred ways out of the root, by both protocols and both guards, and none of them leads anywhere.
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <vector>

#include "services/files/name.hpp"
#include "services/files/opening.hpp"
#include "tests/services/files/fixture.hpp"

using namespace tap;
using namespace tap::tests;
using namespace tap::services::files;

namespace {

/// Links and other things in the root that lead out of it, or are no files.
std::vector<std::string> lay_traps(FilesWorld& world) {
  const std::string outside = world.directory.path();
  world.link("../secret", "up");
  world.link("../../root/../secret", "updown");
  world.link(outside + "/secret", "absolute");
  world.link("..", "parent");
  world.link("../outside", "dir");
  world.link(outside, "absolutedir");
  world.link("up", "chain");
  world.link("loop", "loop");
  world.link("sub/../../secret", "through");
  world.link("/", "slash");
  world.link("/proc/self/root", "procroot");
  world.link("/proc/self/cwd", "proccwd");
  world.link("/dev/null", "null");
  world.link("../../secret", "sub/up2");
  world.link("../..", "sub/parent2");
  world.link(world.root + "/a.txt", "absoluteinside");  // beneath means beneath, wherever it would end
  REQUIRE(::mkfifo((world.root + "/fifo").c_str(), 0644) == 0);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (world.root + "/socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return {"up",
          "updown",
          "absolute",
          "parent/secret",
          "dir/secret",
          "absolutedir/secret",
          "chain",
          "loop",
          "through",
          "slash/etc/passwd",
          "procroot/etc/passwd",
          "proccwd/secret",
          "null",
          "sub/up2",
          "sub/parent2/secret",
          "absoluteinside",
          "fifo",
          "socket",
          "parent/root/a.txt",
          "dir/../secret",
          "absolutedir/root/a.txt",
          "sub/parent2/root/a.txt"};
}

/// Names that lead out by themselves.
std::vector<std::string> crooked_names(const FilesWorld& world) {
  std::vector<std::string> names{"/etc/passwd",
                                 "/secret",
                                 "//etc/passwd",
                                 ".",
                                 "..",
                                 "./..",
                                 "sub/..",
                                 "a.txt/..",
                                 "a.txt/../../secret",
                                 "sub/./../../secret",
                                 "sub//../../secret",
                                 "...",
                                 "..;/secret",
                                 "..\\secret",
                                 "..%2fsecret",
                                 "%2e%2e/secret",
                                 "~",
                                 "~root/.profile",
                                 "\\..\\secret",
                                 world.directory / "secret",
                                 world.root + "/../secret",
                                 "/proc/self/environ",
                                 std::string("a.txt\0/../../secret", 19),
                                 std::string("\0", 1),
                                 "\xC0\xAE\xC0\xAE/secret",
                                 "..\xC0\xAFsecret",
                                 "sub/\xE2\x80\xA6/secret",
                                 "a.txt/",
                                 "a.txt/.",
                                 "\t../secret",
                                 " ../secret",
                                 "../ secret",
                                 "file:///etc/passwd",
                                 std::string(3000, 'a')};
  for (const char* up : {"../", "..//", "./../", "sub/../../", "sub/../sub/../../"}) {
    std::string way;
    for (int depth = 0; depth < 4; ++depth) {
      way += up;
      names.push_back(way + "secret");
      names.push_back(way + "etc/passwd");
    }
  }
  return names;
}

/// Ways of writing a name in a URL.
std::vector<std::string> spellings(const std::string& name) {
  std::string all;
  for (const char c : name) {
    constexpr char kDigits[] = "0123456789abcdef";
    all += {'%', kDigits[static_cast<unsigned char>(c) >> 4], kDigits[static_cast<unsigned char>(c) & 15]};
  }
  return {percent_encoded(name), all, percent_encoded(percent_encoded(name))};
}

}  // namespace

TEST_CASE("files: a hundred attempts to leave the root fail, by lines and by HTTP") {
  FilesWorld world({{"hidden", "true"}, {"index", "true"}});
  std::vector<std::string> names = lay_traps(world);
  for (std::string& name : crooked_names(world)) names.push_back(std::move(name));
  std::size_t attempts = 0;
  for (const std::string& name : names) {
    CAPTURE(name);
    if (name.find('\n') == std::string::npos) {
      FilesClient client = FilesClient::lines(world);
      const std::string answer = client.line("get " + name + "\n");
      ++attempts;
      CHECK((answer.substr(0, 6) == "error " || answer.empty()));
    }
    for (const std::string& spelling : spellings(name)) {
      CAPTURE(spelling);
      FilesClient client = FilesClient::http(world);
      const std::string answer = client.ask("GET", "/" + spelling);
      ++attempts;
      REQUIRE(answer.size() > 12);
      // What is left of it may be a directory inside: "a.txt/.." and such are not looked at at all.
      CHECK(answer[9] == '4');
      CHECK(answer.find("SECRET") == std::string::npos);
    }
  }
  MESSAGE(attempts << " attempts");
  CHECK(attempts >= 100);
  FilesClient honest = FilesClient::lines(world);
  CHECK(honest.through("get a.txt\n", "hello\n") == "ok 6\nhello\n");
}

TEST_CASE("files: without openat2 no link is followed, and nothing else leads out either") {
  FilesWorld world;
  std::vector<std::string> names = lay_traps(world);
  world.link("a.txt", "inside");
  names.emplace_back("inside");
  const Fd root(::open(world.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const std::string& name : names) {
    CAPTURE(name);
    const Found found = open_beneath(root.get(), name, Guard::by_component, 0);
    CHECK(found.what != Found::What::file);
    CHECK(found.what != Found::What::directory);
    const bool inside = name == "inside";
    CHECK((open_beneath(root.get(), name, Guard::openat2, 0).what == Found::What::file) == inside);
  }
  for (const Guard guard : {Guard::openat2, Guard::by_component}) {
    CHECK(open_beneath(root.get(), "a.txt", guard, 0).what == Found::What::file);
    CHECK(open_beneath(root.get(), "sub/b.html", guard, 0).what == Found::What::file);
    CHECK(open_beneath(root.get(), "sub", guard, 0).what == Found::What::directory);
    CHECK(open_beneath(root.get(), "", guard, 0).what == Found::What::directory);
    CHECK(open_beneath(root.get(), "fifo", guard, 0).what == Found::What::no_file);
    CHECK(open_beneath(root.get(), "none", guard, 0).what == Found::What::missing);
    CHECK(open_beneath(root.get(), "a.txt/b", guard, 0).what == Found::What::missing);
  }
  CHECK(guard_of_kernel(root.get()) == Guard::openat2);
}
