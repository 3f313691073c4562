// A real tapd behind tls:, haproxy: and systemd: endpoints, talked to by the openssl command.
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <optional>

#include "tests/end_to_end/daemon.hpp"
#include "tests/services/net/certificates.hpp"

using namespace tap::tests;

namespace {

/// A tapd with an echo service behind one endpoint, and certificates that fit.
struct Served {
  explicit Served(const std::string& more = "", const std::string& before = "") {
    files = authority.make("localhost");
    endpoint = before + "tls:0:interface=127.0.0.1:privateKey=" + files.key + ":certKey=" + files.certificate + more;
    daemon.emplace(directory, std::vector<std::string>{"echo", "--listen", endpoint});
    REQUIRE_MESSAGE(daemon->started(), daemon->launcher().err);
  }
  [[nodiscard]] std::vector<std::string> s_client(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"openssl",
                                   "s_client",
                                   "-connect",
                                   "127.0.0.1:" + std::to_string(daemon->port()),
                                   "-CAfile",
                                   authority.root(),
                                   "-verify_return_error",
                                   "-servername",
                                   "localhost"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// Sends a line and reads it back; then everything that the program has said.
  [[nodiscard]] std::string talk(const std::vector<std::string>& more) const {
    Process client(s_client(more), directory.path());
    client.write_input("hello\n");
    std::string said;
    for (;;) {
      const std::string line = client.read_line();
      said += line + "\n";
      if (line.ends_with("hello")) break;  // whatever s_client was saying when it came
      if (line.empty() && said.size() > 100'000) break;
      if (said.find("\n\n\n\n\n\n\n\n") != std::string::npos) break;  // its end
    }
    client.close_input();
    const Ended ended = client.wait();
    return said + ended.out + ended.err;
  }

  Certificates authority;
  CertificateFiles files;
  TemporaryDirectory directory;
  std::string endpoint;
  std::optional<Daemon> daemon;
};

bool echoed(const std::string& said) { return said.find("hello\n") != std::string::npos; }

}  // namespace

TEST_CASE("tls: openssl s_client talks 1.2 and 1.3, and nothing older") {
  const Served served;
  CHECK(served.daemon->launcher().out ==
        "listening echo tls:127.0.0.1:" + std::to_string(served.daemon->port()) + "\n");
  const std::string newest = served.talk({"-tls1_3"});
  CHECK(echoed(newest));
  CHECK(newest.find("TLSv1.3") != std::string::npos);
  CHECK(newest.find("Verify return code: 0 (ok)") != std::string::npos);
  const std::string older = served.talk({"-tls1_2"});
  CHECK(echoed(older));
  CHECK(older.find("TLSv1.2") != std::string::npos);
  const Ended oldest = run(served.s_client({"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}), served.directory.path());
  CHECK(oldest.code != 0);
  CHECK(oldest.err.find("alert protocol version") != std::string::npos);
}

TEST_CASE("tls: sessions are resumed, by 1.2 and by 1.3") {
  const Served served;
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    const std::string session = served.directory / (std::string(version) + ".pem");
    const std::string first = served.talk({version, "-sess_out", session});
    CHECK(first.find("\nNew, TLSv1") != std::string::npos);
    REQUIRE(exists(session));
    const std::string second = served.talk({version, "-sess_in", session});
    CHECK(echoed(second));
    CHECK(second.find("\nReused, TLSv1") != std::string::npos);
  }
}

TEST_CASE("tls: a client that wants to renegotiate is refused") {
  const Served served;
  Process client(served.s_client({"-tls1_2"}), served.directory.path());
  client.write_input("hello\n");
  while (!client.read_line().ends_with("hello")) continue;
  client.write_input("R\n");
  const Ended ended = client.wait();
  CHECK(ended.code != 0);
  CHECK(ended.err.find("no renegotiation") != std::string::npos);
  CHECK(echoed(served.talk({"-tls1_2"})));
}

TEST_CASE("tls: clients without a certificate, or with a stranger's, are refused, others are not") {
  Certificates others;
  const CertificateFiles stranger = others.make("stranger", {{}, false});
  Certificates ours;
  const Served served(":clientCA=" + ours.root());
  const CertificateFiles me = ours.make("me", {{}, false});
  const CertificateFiles past = ours.make("past", {{}, true});
  CHECK(echoed(served.talk({"-cert", me.certificate, "-key", me.key})));
  CHECK(echoed(served.talk({"-tls1_2", "-cert", me.certificate, "-key", me.key})));
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    CHECK(!echoed(served.talk({version})));
    CHECK(!echoed(served.talk({version, "-cert", stranger.certificate, "-key", stranger.key})));
    CHECK(!echoed(served.talk({version, "-cert", past.certificate, "-key", past.key})));
  }
  CHECK(served.daemon->wait_for_log("peer did not return a certificate", 2));
  CHECK(count_of(served.daemon->log(), "certificate has expired") == 2);
}

TEST_CASE("tls: a new certificate is taken while connections live, and they go on") {
  Served served;
  Process living(served.s_client({"-quiet"}), served.directory.path());
  living.write_input("before\n");
  CHECK(living.read_line() == "before");
  const CertificateFiles next = served.authority.make("next", {{"DNS:localhost", "IP:127.0.0.1"}, false});
  REQUIRE(std::rename(next.key.c_str(), served.files.key.c_str()) == 0);
  REQUIRE(std::rename(next.certificate.c_str(), served.files.certificate.c_str()) == 0);
  bool seen = false;  // within a second
  for (int i = 0; i < 200 && !seen; ++i) seen = served.talk({}).find("subject=CN = next") != std::string::npos;
  CHECK(seen);
  living.write_input("after\n");
  CHECK(living.read_line() == "after");
}

TEST_CASE("tls: keys are read before privileges are dropped, again by each worker") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can give its privileges away");
    return;
  }
  Served served;
  REQUIRE(served.daemon->stop());
  REQUIRE(::chmod(served.files.key.c_str(), 0400) == 0);
  REQUIRE(::chmod(served.directory.path().c_str(), 0755) == 0);
  served.daemon.emplace(served.directory,
                        std::vector<std::string>{"echo", "--listen", served.endpoint, "-u", "65534", "-g", "65534"});
  REQUIRE_MESSAGE(served.daemon->started(), served.daemon->launcher().err);
  CHECK(echoed(served.talk({})));
  send_signal(served.daemon->worker(), SIGKILL);
  CHECK(served.daemon->wait_for_log("has taken over"));
  CHECK(echoed(served.talk({})));
}

TEST_CASE("tls: --check and a start tell what is wrong with a key, and where the config says it") {
  Certificates authority;
  const CertificateFiles one = authority.make("one");
  const CertificateFiles two = authority.make("two");
  const TemporaryDirectory directory;
  const std::string head = "[[service]]\nname = \"e\"\nkind = \"echo\"\nlisten = [\"tcp:0\",\n  \"tls:0:privateKey=";
  const auto check = [&](const std::string& rest, const std::vector<std::string>& more) {
    write_text(directory / "t.toml", head + rest + "\"]\n");
    std::vector<std::string> words{program("tapd"), "-c", "t.toml"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run(words, directory.path());
    CHECK(ended.code == (ended.err.empty() ? 0 : 78));
    return ended.err;
  };
  CHECK(check("none.key:certKey=" + one.certificate, {"--check"})
            .find("t.toml:5:3: endpoint 'tls:0:privateKey=none.key") != std::string::npos);
  CHECK(check("none.key:certKey=" + one.certificate, {"--check"}).find("none.key: No such file or directory") !=
        std::string::npos);
  const std::string mismatch = "this private key does not belong to the certificate of " + one.certificate;
  CHECK(check(two.key + ":certKey=" + one.certificate, {"--check"}).find(mismatch) != std::string::npos);
  CHECK(check(two.key + ":certKey=" + one.certificate, {"-n"}).find("t.toml:5:3: ") != std::string::npos);
  CHECK(check(one.key + ":certKey=" + one.certificate, {"--check"}).empty());
  const Ended typed =
      run({program("tapd"), "--check", "echo", "--listen", "tls:0:privateKey=" + one.certificate}, directory.path());
  CHECK(typed.code == 78);
  CHECK(typed.err.find("there is no private key in it") != std::string::npos);
}

TEST_CASE("haproxy: the header is read before TLS and before plain bytes, and the log names the client") {
  const TemporaryDirectory directory;
  const Daemon daemon(directory, {"echo", "--listen", "haproxy:tcp:0:interface=127.0.0.1"});
  REQUIRE_MESSAGE(daemon.started(), daemon.launcher().err);
  CHECK(daemon.launcher().out == "listening echo haproxy:tcp:127.0.0.1:" + std::to_string(daemon.port()) + "\n");
  Client client = Client::tcp(daemon.port());
  REQUIRE(client.send("PROXY TCP4 192.0.2.1 10.0.0.1 40003 443\r\nhello\n"));
  CHECK(client.read_line() == "hello");
  Client plain = Client::tcp(daemon.port());
  REQUIRE(plain.send("hello\n"));
  CHECK(plain.read_all().empty());
  CHECK(daemon.wait_for_log("there is no PROXY header"));
}

TEST_CASE("systemd: a listening socket that is handed over is served under its name") {
  const TemporaryDirectory directory;
  write_text(directory / "activate.py", R"(
import os, socket, sys
listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen(8)
other = socket.socket(); other.bind(("127.0.0.1", 0)); other.listen(8)
first, second = listening.fileno(), other.fileno()
first = os.dup2(os.dup(first) if first < 5 else first, 10); second = os.dup2(second, 11)
os.dup2(10, 3); os.dup2(11, 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="fib:unused")
os.execv(sys.argv[1], sys.argv[1:])
)");
  for (const bool keeper : {true, false}) {
    std::vector<std::string> words{"python3",  "activate.py",      program("tapd"), "fibonacci",
                                   "--listen", "systemd:name=fib", "--framing",     "line"};
    if (!keeper) words.emplace_back("--no-keeper");
    const Ended started = run(words, directory.path());
    REQUIRE_MESSAGE(started.code == 0, started.err);
    CHECK(started.out.find("listening fibonacci tcp:127.0.0.1:") == 0);
    CHECK(started.err.find("'unused'") != std::string::npos);
    CHECK(!ask(ports_in(started.out).at(0)).empty());
    const pid_t pid = static_cast<pid_t>(std::stoi(read_text(directory / "tapd.pid")));
    send_signal(pid, SIGTERM);
    CHECK(wait_until_gone(pid));
    CHECK(!Client::tcp(ports_in(started.out).at(0)).open());
  }
  const Ended none = run({program("tapd"), "-n", "echo", "--listen", "systemd:name=fib"}, directory.path());
  CHECK(none.code == 69);
  CHECK(none.err.find("systemd has handed over none") != std::string::npos);
}
