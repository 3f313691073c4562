// The small services as people run them, with Python as the peer.
#include <doctest/doctest.h>

#include <string>

#include "tests/end_to_end/daemon.hpp"

using namespace tap::tests;

namespace {

/// Runs a Python program with what every one of these needs; it prints what is to be looked at.
std::string python(const TemporaryDirectory& directory, const std::string& code,
                   const std::vector<std::string>& words) {
  const std::string common =
      "import socket, struct, sys, time, datetime\n"
      "def tcp(port):\n"
      "    with socket.create_connection(('127.0.0.1', port), 20) as s:\n"
      "        data = b''\n"
      "        while piece := s.recv(65536): data += piece\n"
      "        return data\n"
      "def udp(port, question=b''):\n"
      "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
      "        s.settimeout(20)\n"
      "        s.connect(('127.0.0.1', port))\n"
      "        s.send(question)\n"
      "        return s.recv(65536)\n"
      "ports = [int(word) for word in sys.argv[1:]]\n";
  std::vector<std::string> command{"python3", "-c", common + code};
  command.insert(command.end(), words.begin(), words.end());
  const Ended ended = run(command, directory.path());
  CHECK_MESSAGE(ended.code == 0, ended.err);
  return ended.out;
}

/// The port behind the last ':' of the line with this endpoint type.
std::string port_of(const Daemon& daemon, const std::string& type) {
  const std::string& text = daemon.launcher().out;
  const std::size_t begin = text.find(" " + type + ":127.0.0.1:");
  REQUIRE(begin != std::string::npos);
  const std::string line = text.substr(begin, text.find('\n', begin) - begin);
  return line.substr(line.rfind(':') + 1);
}

std::vector<std::string> both(const std::string& kind) {
  return {kind, "--listen", "tcp:0:interface=127.0.0.1", "--listen", "udp:0:interface=127.0.0.1"};
}

}  // namespace

TEST_CASE("rfc: Python decodes time868 and daytime, by TCP and UDP, and they are now") {
  const TemporaryDirectory directory;
  {
    Daemon daemon(directory, both("time868"));
    REQUIRE(daemon.started());
    CHECK(daemon.launcher().out.find("listening time868 udp:127.0.0.1:") != std::string::npos);
    CHECK(python(directory,
                 "for data in tcp(ports[0]), udp(ports[1]):\n"
                 "    (seconds,) = struct.unpack('!I', data)\n"
                 "    print(abs(seconds - 2208988800 - time.time()) < 60)\n",
                 {port_of(daemon, "tcp"), port_of(daemon, "udp")}) == "True\nTrue\n");
    CHECK(daemon.stop());
  }
  Daemon daemon(directory, both("daytime"));
  REQUIRE(daemon.started());
  CHECK(python(directory,
               "for data in tcp(ports[0]), udp(ports[1]):\n"
               "    told = datetime.datetime.strptime(data.decode(), '%a %b %d %H:%M:%S %Y\\r\\n')\n"
               "    told = told.replace(tzinfo=datetime.timezone.utc)\n"
               "    print(abs(told.timestamp() - time.time()) < 60)\n",
               {port_of(daemon, "tcp"), port_of(daemon, "udp")}) == "True\nTrue\n");
  CHECK(daemon.stop());
}

TEST_CASE("rfc: hostile datagrams to echo: empty, 64 KB and too many; the log has one line for all that is refused") {
  const TemporaryDirectory directory;
  std::vector<std::string> words = both("echo");
  words.insert(words.end(), {"--udp-answers", "20"});
  Daemon daemon(directory, words);
  REQUIRE(daemon.started());
  CHECK(python(directory,
               "print(udp(ports[0]) == b'')\n"
               "print(udp(ports[0], b'x' * 65507) == b'x' * 65507)\n"
               "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
               "for i in range(500): s.sendto(b'again', ('127.0.0.1', ports[0]))\n",
               {port_of(daemon, "udp")}) == "True\nTrue\n");
  CHECK(daemon.wait_for_log("one address asks more often than udp_answers allows"));
  CHECK(count_of(daemon.log(), "not answered") == 1);
  Client client = Client::tcp(daemon.port());
  REQUIRE(client.send("hello"));
  CHECK(client.read_exactly(5) == "hello");
  CHECK(daemon.stop());
}

TEST_CASE("rfc: a udp endpoint for a kind that speaks no datagrams is a config error") {
  const TemporaryDirectory directory;
  const Ended ended = run({program("tapd"), "--check", "fibonacci", "--listen", "udp:0"}, directory.path());
  CHECK(ended.code == 78);
  CHECK(ended.err.find("does not speak datagrams") != std::string::npos);
}
