#include "tests/end_to_end/articles.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

namespace tap::tests {
namespace {

constexpr std::uint64_t kFaultsMax = 5;  // of a service: more say nothing new

}  // namespace

void write_poem(const std::string& path, const std::string& text) {
  write_text(path, text);
  const timespec old[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), old, 0) == 0);
}

std::string poem_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('!' + i % 89);
  return text;
}

// --- the ledger ---------------------------------------------------------------------------------------------------

void Ledger::add(const std::string& service, std::uint64_t Counts::*what) {
  const std::lock_guard<std::mutex> hold(lock_);
  ++(counts_[service].*what);
}

void Ledger::wrong(const std::string& service, const std::string& what) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (counts_[service].faults++ < kFaultsMax) faults_.push_back(service + ": " + what.substr(0, 200));
}

void Ledger::given(const std::string& what, std::uint64_t number) {
  const std::lock_guard<std::mutex> hold(lock_);
  numbers_[what].push_back(number);
}

std::uint64_t Ledger::answers(const std::string& service) const {
  const std::lock_guard<std::mutex> hold(lock_);
  const auto found = counts_.find(service);
  return found == counts_.end() ? 0 : found->second.answers;
}

std::uint64_t Ledger::failures(const std::string& service) const {
  const std::lock_guard<std::mutex> hold(lock_);
  const auto found = counts_.find(service);
  return found == counts_.end() ? 0 : found->second.failures;
}

std::vector<std::string> Ledger::faults() const {
  const std::lock_guard<std::mutex> hold(lock_);
  return faults_;
}

std::vector<std::uint64_t> Ledger::numbers(const std::string& what) const {
  const std::lock_guard<std::mutex> hold(lock_);
  const auto found = numbers_.find(what);
  std::vector<std::uint64_t> sorted = found == numbers_.end() ? std::vector<std::uint64_t>() : found->second;
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

// --- the daemon ---------------------------------------------------------------------------------------------------

Articles::Articles() : fast_poem_(poem_text(400'000)), slow_poem_(poem_text(115)) {
  for (const TemporaryDirectory* directory : {&directory_, &server_directory_}) {
    REQUIRE(::mkdir((*directory / "poetry").c_str(), 0700) == 0);
    write_poem(*directory / "poetry/ecstasy.txt", fast_poem_);
    write_poem(*directory / "poetry/fascination.txt", slow_poem_);
  }
  server_ = std::make_unique<Daemon>(
      server_directory_, std::vector<std::string>{"poetry", "--listen", "tcp:0:interface=127.0.0.1", "--poem",
                                                  "poetry/ecstasy.txt", "-o"});
  REQUIRE(server_->started());
  write_text(directory_ / "access.log", "");
  write_text(directory_ / "rules.toml",
             "[default]\nblock = [\"cookies\"]\n[[rule]]\nname = \"blocked\"\nhosts = [\"blocked.example\"]\n"
             "block = [\"connections\"]\n");
  write_text(directory_ / "articles.toml", config());
}

/// The file that the README shows, on free ports, with a little less patience.
std::string Articles::config() const {
  const char* source = std::getenv("TAP_SOURCE");
  REQUIRE(source != nullptr);
  std::string text = read_text(std::string(source) + "/tests/all-articles.toml");
  REQUIRE_FALSE(text.empty());
  const std::string upstream = "upstream = \"tcp:127.0.0.1:" + std::to_string(server_->port()) + "\"";
  text = std::regex_replace(text, std::regex("upstream = \"[^\"]*\""), upstream);
  text = std::regex_replace(text, std::regex("\"(tcp|udp):[0-9]+:"), "\"$1:0:");
  text = std::regex_replace(text, std::regex("delay = \"0.7s\""), "delay = \"0.07s\"");
  text = std::regex_replace(text, std::regex("push_every = \"5s\""), "push_every = \"0.1s\"");
  return std::regex_replace(text, std::regex("pool_idle = \"5s\""), "pool_idle = \"1s\"");
}

void Articles::start() {
  daemon_.reset();  // what is in the pidfile dies with it
  daemon_ = std::make_unique<Daemon>(directory_, std::vector<std::string>{"-c", "articles.toml"});
  INFO(daemon_->launcher().err);
  REQUIRE(daemon_->started());
  takeovers_ = count_of(daemon_->log(), "has taken over");
  std::map<std::string, std::vector<std::uint16_t>> ports;
  std::istringstream lines(daemon_->launcher().out);
  for (std::string word, service, endpoint; lines >> word >> service >> endpoint;) {
    const std::string type = endpoint.substr(0, endpoint.find(':'));
    if (type != "tcp" && type != "udp") continue;
    ports[type == "tcp" ? service : service + " by UDP"].push_back(
        static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  }
  {
    const std::lock_guard<std::mutex> hold(lock_);
    ports_ = std::move(ports);
  }
  changed_.notify_all();
}

bool Articles::stop() {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    ports_.clear();
  }
  return daemon_->stop();
}

void Articles::kill_worker() {
  const pid_t worker = daemon_->worker();
  REQUIRE(worker > 1);
  send_signal(worker, SIGKILL);
  REQUIRE(daemon_->wait_for_log("has taken over", ++takeovers_));
}

void Articles::begin() {
  const std::lock_guard<std::mutex> hold(lock_);
  going_on_ = true;
}

void Articles::end() {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    going_on_ = false;
  }
  changed_.notify_all();
}

std::string Articles::log_hit() {
  const std::lock_guard<std::mutex> hold(lock_);
  const std::string path = "/hit-" + std::to_string(++hits_) + ".html";
  std::ofstream log(directory_ / "access.log", std::ios::app);
  log << "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET " << path << " HTTP/1.1\" 200 5 \"-\" \"test\"\n";
  return path;
}

bool Articles::going_on() {
  const std::lock_guard<std::mutex> hold(lock_);
  return going_on_;
}

std::uint16_t Articles::port(const std::string& service, std::size_t index) {
  std::unique_lock<std::mutex> hold(lock_);
  changed_.wait(hold, [this] { return !going_on_ || !ports_.empty(); });
  const auto found = ports_.find(service);
  return found == ports_.end() || index >= found->second.size() ? 0 : found->second[index];
}

}  // namespace tap::tests
