// What one client does with each service of tests/all-articles.toml. A further service is one function, and one line
// of the list at the end.
//
// A request that gets no answer is no fault: a worker may be killed at any time. An answer that is wrong always is one.
#include <unordered_map>

#include "tests/end_to_end/articles.hpp"

namespace tap::tests {
namespace {

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

}  // namespace

const std::vector<Exercise>& exercises() {
  static const std::vector<Exercise> all{
      {"chargen", chargen},     {"daytime", daytime},       {"discard", discard},     {"echo", echo},
      {"ecstasy", fast_poem},   {"fascination", slow_poem}, {"fibonacci", fibonacci}, {"onetimekey", onetimekey},
      {"proxy", fast_poem},     {"sequence", sequence},     {"time", time},           {"time868", time868},
      {"transform", transform},
  };
  return all;
}

}  // namespace tap::tests
