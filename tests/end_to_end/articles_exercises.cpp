// What one client does with each service of tests/all-articles.toml. A further service is one function, and one line
// of the list at the end.
//
// A request that gets no answer is no fault: a worker may be killed at any time. An answer that is wrong always is one.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <unordered_map>

#include "tests/end_to_end/articles.hpp"

namespace tap::tests {
namespace {

/// With the two clients of each exercise it is about as often as one address is answered.
constexpr int kDatagramPatienceMs = 200;

/// A connection; the rest is counted when there is none.
Client connect(Articles& articles, const std::string& service, std::size_t index = 0) {
  const std::uint16_t port = articles.port(service, index);
  Client client = Client::tcp(port == 0 ? std::uint16_t{1} : port);
  if (!client.open()) articles.ledger().unanswered(service);
  return client;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// --- numbers ------------------------------------------------------------------------------------------------------

constexpr std::uint64_t kPrime = 1'000'000'000'000'000'003;

/// Which Fibonacci number this is, by its rest; they are long. 1 is the first, 2 the second, 3 the third.
class FibonacciPlaces {
 public:
  std::uint64_t of(const std::string& digits) {
    std::uint64_t key = 0;
    for (const char digit : digits) key = (key * 10 + static_cast<std::uint64_t>(digit - '0')) % kPrime;
    while (places_.size() < 2'000'000 && places_.count(key) == 0) {
      places_.emplace(b_, places_.size() + 1);
      const std::uint64_t next = (a_ + b_) % kPrime;
      a_ = b_;
      b_ = next;
    }
    const auto found = places_.find(key);
    return found == places_.end() ? 0 : found->second;
  }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> places_;
  std::uint64_t a_ = 1;
  std::uint64_t b_ = 1;
};

void fibonacci(Articles& articles, const std::string& service) {
  thread_local FibonacciPlaces places;
  Client client = connect(articles, service);
  for (int i = 0; i < 50 && client.open() && articles.going_on(); ++i) {
    if (!client.send("next\n")) return articles.ledger().unanswered(service);
    const std::string digits = client.read_line();
    if (digits.empty()) return articles.ledger().unanswered(service);
    if (digits == "ERR the service stops") return;
    const std::uint64_t place = is_number(digits) ? places.of(digits) : 0;
    if (place < 2) return articles.ledger().wrong(service, "'" + digits + "' is no Fibonacci number");
    articles.ledger().answered(service);
    articles.ledger().given("fibonacci", place);
  }
}

void onetimekey(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string answer = client.read_all();
  if (answer.empty() || answer.back() != '\n') return articles.ledger().unanswered(service);
  const std::string digits = answer.substr(0, answer.size() - 1);
  if (!is_number(digits)) return articles.ledger().wrong(service, "'" + digits + "' is no number");
  articles.ledger().answered(service);
  articles.ledger().given("onetimekey", std::stoull(digits));
}

void sequence(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  for (int i = 0; i < 50 && client.open() && articles.going_on(); ++i) {
    if (!client.send("NEXT a\n")) return articles.ledger().unanswered(service);
    const std::string digits = client.read_line();
    if (digits.empty()) return articles.ledger().unanswered(service);
    if (!is_number(digits)) return articles.ledger().wrong(service, "'" + digits + "' is no number");
    articles.ledger().answered(service);
    articles.ledger().given("sequence a", std::stoull(digits));
  }
}

// --- the small services -------------------------------------------------------------------------------------------

void echo(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  for (std::size_t size = 1; size < 100'000 && client.open(); size *= 7) {
    const std::string said(size, 'e');
    if (!client.send(said)) return articles.ledger().unanswered(service);
    const std::string heard = client.read_exactly(size);
    if (said.compare(0, heard.size(), heard) != 0) return articles.ledger().wrong(service, heard);
    if (heard.size() != size) return articles.ledger().unanswered(service);
    articles.ledger().answered(service);
  }
}

void discard(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  if (!client.send(std::string(100'000, 'd'))) return articles.ledger().unanswered(service);
  client.finish_sending();
  const std::string heard = client.read_all();
  if (!heard.empty()) return articles.ledger().wrong(service, "it says something: " + heard);
  if (client.failed()) articles.ledger().unanswered(service);
  else articles.ledger().answered(service);
}

void chargen(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string heard = client.read_exactly(10 * 74);
  if (heard.size() != 10 * 74) return articles.ledger().unanswered(service);
  const bool right = heard.substr(0, 4) == " !\"#" && heard.substr(74, 4) == "!\"#$" && heard.substr(72, 2) == "\r\n";
  if (right) articles.ledger().answered(service);
  else articles.ledger().wrong(service, heard);
}

/// One that says one thing and ends.
void greeting(Articles& articles, const std::string& service, bool (*is_right)(const std::string&)) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string heard = client.read_all();
  if (heard.empty() || client.failed()) articles.ledger().unanswered(service);
  else if (is_right(heard)) articles.ledger().answered(service);
  else articles.ledger().wrong(service, heard);
}

void time(Articles& articles, const std::string& service) {
  greeting(articles, service,
           [](const std::string& heard) { return heard.compare(0, 19, "Hello. The time is ") == 0; });
}
void daytime(Articles& articles, const std::string& service) {
  greeting(articles, service, [](const std::string& heard) { return heard.size() == 26; });
}
void time868(Articles& articles, const std::string& service) {
  greeting(articles, service, [](const std::string& heard) { return heard.size() == 4; });
}

/// One datagram and its answer. Datagrams may be lost, and are for those who ask more often than their address may.
void datagram(Articles& articles, const std::string& service, bool (*is_right)(const std::string&)) {
  const tap::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(articles.port(service));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string asked(100, 'u');
  char answer[2048];
  ssize_t size = -1;
  if (address.sin_port != 0 && ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::send(socket.get(), asked.data(), asked.size(), 0) == static_cast<ssize_t>(asked.size())) {
    pollfd answered{socket.get(), POLLIN, 0};
    if (::poll(&answered, 1, kDatagramPatienceMs) == 1) size = ::recv(socket.get(), answer, sizeof answer, 0);
  }
  const bool silent = is_right == nullptr;
  if (size < 0 && !silent) return articles.ledger().unanswered(service);
  const std::string heard(answer, size < 0 ? 0 : static_cast<std::size_t>(size));
  if (silent ? size < 0 : is_right(heard)) articles.ledger().answered(service);
  else articles.ledger().wrong(service, heard);
}

void echo_datagram(Articles& articles, const std::string& service) {
  datagram(articles, service, [](const std::string& heard) { return heard == std::string(100, 'u'); });
}
void discard_datagram(Articles& articles, const std::string& service) { datagram(articles, service, nullptr); }
void chargen_datagram(Articles& articles, const std::string& service) {
  datagram(articles, service, [](const std::string& heard) {
    return heard.size() == 100 && heard.compare(0, 4, " !\"#") == 0 && heard.compare(72, 6, "\r\n!\"#$") == 0;
  });
}
void daytime_datagram(Articles& articles, const std::string& service) {
  datagram(articles, service, [](const std::string& heard) { return heard.size() == 26; });
}
void time868_datagram(Articles& articles, const std::string& service) {
  datagram(articles, service, [](const std::string& heard) { return heard.size() == 4; });
}

// --- poetry -------------------------------------------------------------------------------------------------------

/// Whole, or visibly cut.
void poem(Articles& articles, const std::string& service, const std::string& whole) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string heard = client.read_all();
  if (whole.compare(0, heard.size(), heard) != 0) return articles.ledger().wrong(service, "these are not its words");
  if (client.failed()) return articles.ledger().unanswered(service);
  if (heard.size() == whole.size()) return articles.ledger().answered(service);
  articles.ledger().wrong(service, "a poem that was cut after " + std::to_string(heard.size()) + " bytes looks whole");
}

void fast_poem(Articles& articles, const std::string& service) { poem(articles, service, articles.fast_poem()); }
void slow_poem(Articles& articles, const std::string& service) { poem(articles, service, articles.slow_poem()); }

void transform(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  const std::string request = "27:cummingsify.HERE IS MY POEM,";
  const std::string answer = "15:here is my poem,";
  for (int i = 0; i < 20 && client.open(); ++i) {
    if (!client.send(request + request + request)) return articles.ledger().unanswered(service);
    const std::string heard = client.read_exactly(3 * answer.size());
    if ((answer + answer + answer).compare(0, heard.size(), heard) != 0) return articles.ledger().wrong(service, heard);
    if (heard.size() != 3 * answer.size()) return articles.ledger().unanswered(service);
    articles.ledger().answered(service);
  }
}

// --- a web server's log -------------------------------------------------------------------------------------------

/// What was told on one connection: each hit once, in the log's order.
void check_document(Articles& articles, const std::string& service, const std::string& document) {
  if (document.compare(0, 6, "<hits>") != 0) return articles.ledger().wrong(service, "begins with " + document);
  std::uint64_t last = 0;
  const std::string mark = "GET /hit-";
  for (std::size_t at = document.find(mark); at != std::string::npos; at = document.find(mark, at + 1)) {
    const std::string digits = document.substr(at + mark.size(), 12);
    if (digits.find('.') == std::string::npos) break;  // the rest has not come
    const std::uint64_t number = std::stoull(digits);
    if (last != 0 && number != last + 1) {
      return articles.ledger().wrong(service, std::to_string(number) + " comes after " + std::to_string(last));
    }
    last = number;
  }
}

/// A hit is written to the log, and comes. `ask`: what makes it come.
void weblog_of(Articles& articles, const std::string& service, const std::string& ask) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string path = articles.log_hit();
  std::string document;
  while (document.find(path + " ") == std::string::npos) {
    if (!articles.going_on()) return;
    if (!ask.empty() && !client.send(ask)) return articles.ledger().unanswered(service);
    const std::string piece = client.read_some();
    if (piece.empty()) return articles.ledger().unanswered(service);
    document += piece;
  }
  client.finish_sending();
  document += client.read_all();
  check_document(articles, service, document);
  // A document that was cut by a kill looks cut.
  const bool whole = document.size() > 8 && document.substr(document.size() - 8) == "</hits>\n";
  if (whole) articles.ledger().answered(service);
  else articles.ledger().unanswered(service);
}

void weblog(Articles& articles, const std::string& service) { weblog_of(articles, service, ""); }
void weblog_pull(Articles& articles, const std::string& service) { weblog_of(articles, service, "more\n"); }

// --- mail, files, and what passes things on -----------------------------------------------------------------------

void mailwatch(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  if (!client.open()) return;
  const std::string heard = client.read_all();
  const std::string mail = articles.slow_poem() + "\n";
  if (mail.compare(0, heard.size(), heard) != 0) return articles.ledger().wrong(service, heard);
  if (heard == mail) articles.ledger().answered(service);
  else articles.ledger().unanswered(service);
}

void files(Articles& articles, const std::string& service) {
  Client client = connect(articles, service);
  const std::string expected =
      "ok " + std::to_string(articles.fast_poem().size()) + "\n" + articles.fast_poem() + "error ";
  for (int i = 0; i < 5 && client.open(); ++i) {
    if (!client.send("get ecstasy.txt\nget ../articles.toml\n")) return articles.ledger().unanswered(service);
    const std::string heard = client.read_exactly(expected.size());
    if (expected.compare(0, heard.size(), heard) != 0) return articles.ledger().wrong(service, heard);
    if (heard.size() != expected.size() || client.read_line().empty()) return articles.ledger().unanswered(service);
    articles.ledger().answered(service);
  }
}

/// The head is left out; `why` is for the ledger when it is another than expected.
void http_get(Articles& articles, const std::string& service, Client& client, const std::string& target,
              const std::string& host, const std::string& status, const std::string& body) {
  const std::string request = "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
  if (!client.send(request)) return articles.ledger().unanswered(service);
  const std::string heard = client.read_all();
  const std::size_t end = heard.find("\r\n\r\n");
  if (client.failed() || end == std::string::npos) return articles.ledger().unanswered(service);
  if (heard.compare(0, 12, "HTTP/1.1 " + status) != 0) {
    // The origin is in the same process: a kill takes both.
    if (heard.compare(0, 10, "HTTP/1.1 5") == 0) return articles.ledger().unanswered(service);
    return articles.ledger().wrong(service, heard.substr(0, 100));
  }
  const std::string got = heard.substr(end + 4);
  if (body.empty() || got == body) return articles.ledger().answered(service);
  if (body.compare(0, got.size(), got) != 0) return articles.ledger().wrong(service, "another body");
  articles.ledger().unanswered(service);  // shorter than its Content-Length
}

void files_http(Articles& articles, const std::string& service) {
  Client client = connect(articles, service, 1);
  if (!client.open()) return;
  http_get(articles, service, client, "/ecstasy.txt", "a.example", "200", articles.fast_poem());
}

void filter(Articles& articles, const std::string& service) {
  const std::string origin = "127.0.0.1:" + std::to_string(articles.port("files", 1));
  Client client = connect(articles, service);
  if (!client.open()) return;
  http_get(articles, service, client, "http://" + origin + "/ecstasy.txt", origin, "200", articles.fast_poem());
  Client blocked = connect(articles, service);
  if (!blocked.open()) return;
  http_get(articles, service, blocked, "http://blocked.example/", "blocked.example", "403", "");
}

}  // namespace

const std::vector<Exercise>& exercises() {
  static const std::vector<Exercise> all{
      {"chargen", chargen},
      {"chargen by UDP", chargen_datagram},
      {"daytime", daytime},
      {"daytime by UDP", daytime_datagram},
      {"discard", discard},
      {"discard by UDP", discard_datagram},
      {"echo", echo},
      {"echo by UDP", echo_datagram},
      {"ecstasy", fast_poem},
      {"fascination", slow_poem},
      {"fibonacci", fibonacci},
      {"onetimekey", onetimekey},
      {"proxy", fast_poem},
      {"sequence", sequence},
      {"time", time},
      {"time868", time868},
      {"time868 by UDP", time868_datagram},
      {"transform", transform},
      {"weblog", weblog},
      {"weblog-pull", weblog_pull},
      {"mailwatch", mailwatch},
      {"files", files},
      {"files", files_http},
      {"forward", echo},
      {"filter", filter},
  };
  return all;
}

}  // namespace tap::tests
