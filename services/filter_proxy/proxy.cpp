#include "services/filter_proxy/proxy.hpp"

#include <algorithm>

#include "services/filter_proxy/pages.hpp"
#include "services/filter_proxy/tunnel.hpp"
#include "services/units.hpp"

namespace tap::services {
namespace {

net::HttpServerLimits request_limits() {
  net::HttpServerLimits limits;
  limits.message.body_bytes_max = net::HttpLimits::kAnyBody;
  return limits;
}

constexpr std::size_t kConnections = static_cast<std::size_t>(Blockable::connections);
constexpr std::size_t kImages = static_cast<std::size_t>(Blockable::images);
constexpr std::size_t kCookies = static_cast<std::size_t>(Blockable::cookies);

/// May be sent twice without doing more than once (RFC 9110 section 9.2.2), and has nothing that would have to be kept.
bool is_repeatable(const net::HttpRequestHead& request) {
  return !request.has_body() &&
         (request.is("GET") || request.is("HEAD") || request.is("OPTIONS") || request.is("TRACE"));
}

}  // namespace

// --- what they share ----------------------------------------------------------------------------------------------

Proxy::Proxy(net::Reactor& reactor, ProxySettings settings, RuleSet rules)
    : reactor_(reactor),
      settings_(std::move(settings)),
      rules_(std::move(rules)),
      counted_(rules_.names().size()),
      site_(reactor, request_limits()),
      upstreams_(reactor, "filter-proxy upstreams", settings_.upstreams) {}

void Proxy::set_rules(RuleSet rules) {
  rules_ = std::move(rules);
  remembered_.clear();
  counted_.assign(rules_.names().size(), {});
  for (ProxyProtocol* client : clients_) client->rules_changed();
}

const Rulings& Proxy::judge(const std::string& host) {
  const auto found = remembered_.find(host);
  if (found != remembered_.end()) return found->second;
  if (remembered_.size() >= kRememberedMax) remembered_.clear();
  return remembered_.emplace(host, rules_.judge(host)).first->second;
}

std::vector<NamedCounts> Proxy::take_counted() {
  std::vector<NamedCounts> taken;
  for (std::size_t i = 0; i < counted_.size(); ++i) {
    if (counted_[i].any()) taken.push_back({rules_.names()[i], std::exchange(counted_[i], {})});
  }
  return taken;
}

void Proxy::sweep() {
  const std::uint64_t now = reactor_.now_ms();
  for (ProxyProtocol* client : clients_) client->end_if_late(now);
  upstreams_.sweep();
}

void Proxy::stop() {
  stopped_ = true;
  upstreams_.abort_all();
}

// --- one client ---------------------------------------------------------------------------------------------------

ProxyProtocol::ProxyProtocol(Proxy& proxy)
    : HttpServerProtocol(proxy.site()), proxy_(proxy), place_(proxy.clients().insert(proxy.clients().end(), this)) {}

ProxyProtocol::~ProxyProtocol() { proxy_.clients().erase(place_); }

void ProxyProtocol::request_received(const net::HttpRequestHead& request, net::HttpAnswer answer) {
  answer_ = std::move(answer);
  request_whole_ = !request.has_body();
  if (!client_allowed()) {
    ++proxy_.counts().refused;
    proxy_.reactor().log().write(LogLevel::warning, proxy_.reactor().name_of(proxy_.reactor().charged()),
                                 "refused " + transport().peer() + ": it is not one of allow_clients");
    answer_with_page(answer_, 403, {}, "this proxy is not for you");
    transport().lose_connection();
    return;
  }
  if (answered_here(request)) return;
  const bool connect_wanted = request.is("CONNECT");
  const std::string& us = proxy_.settings().pseudonym;
  const std::optional<Refused> refused =
      connect_wanted ? read_tunnel_target(request, us, target_) : read_target(request, us, target_);
  if (refused) {
    refuse(*refused);
    return;
  }
  rulings_ = proxy_.judge(target_.host);
  rules_changed_ = false;
  cookies_counted_ = false;
  if (rulings_[kConnections].blocked) {
    block(Blockable::connections, "connections to this host are blocked");
    return;
  }
  proxy_.count(rulings_[kConnections], &RuleCounts::passed);
  if (connect_wanted) tunnel();
  else forward(request);
}

/// Loopback by its own socket file needs no address: who may open it is the file system's business.
bool ProxyProtocol::client_allowed() {
  if (checked_) return true;
  const std::string peer = transport().peer();
  const std::optional<PlainAddress> address = peer_address(peer);
  checked_ = address ? any_contains(proxy_.settings().allow_clients, *address) : peer == "unix";
  return checked_;
}

/// OPTIONS and TRACE that go no further, and OPTIONS * that is meant for us.
bool ProxyProtocol::answered_here(const net::HttpRequestHead& request) {
  const bool options = request.is("OPTIONS");
  if (!options && !request.is("TRACE")) return false;
  const bool ours = request.form == net::HttpRequestHead::Form::asterisk;
  if (!ours && forwards_left(request).value_or(1) != 0) return false;
  if (request.has_body()) {
    refuse({400, "this request has no body"});
  } else if (options) {
    net::HttpAnswerHead head(200);
    head.add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT");
    answer_.send(head, {});
  } else {
    answer_.send(200, "message/http", trace_text(request));
  }
  return true;
}

void ProxyProtocol::forward(const net::HttpRequestHead& request) {
  if (rulings_[kImages].blocked && asks_for_image(request, target_.path)) {
    block(Blockable::images, "images of this host are blocked");
    return;
  }
  ++proxy_.counts().forwarded;
  transport().read_while_congested(true);
  if (request.has_body()) pause_body();
  may_retry_ = is_repeatable(request);
  const std::string key = target_.host + ":" + std::to_string(target_.port);
  if (UpstreamConnection* idle = proxy_.upstreams().take_idle(key)) {
    ++proxy_.counts().reused;
    send(*idle);
  } else {
    may_retry_ = false;
    connect(key);
  }
}

void ProxyProtocol::connect(const std::string& key) {
  std::optional<UpstreamSlot> slot = proxy_.upstreams().take_slot(key);
  if (!slot || proxy_.stopped()) {
    unreachable(503, "there are too many connections to origins already");
    return;
  }
  late_ms_ = 0;  // the dial has its own deadline
  dial_ = proxy_.upstreams().dial(target_.host, target_.port, std::move(*slot), [this](Dialled dialled) {
    const std::unique_ptr<Dial> over = std::move(dial_);
    if (request().is("CONNECT")) tunnel_connected(std::move(dialled));
    else connected(std::move(dialled));
  });
}

void ProxyProtocol::connected(Dialled dialled) {
  if (dialled.status != 0) {
    unreachable(dialled.status, dialled.reason);
    return;
  }
  Result<UpstreamConnection*> begun = proxy_.upstreams().begin(std::move(dialled));
  if (begun) send(**begun);
  else unreachable(502, begun.error().message);
}

void ProxyProtocol::send(UpstreamConnection& connection) {
  const net::HttpRequestHead& from = request();
  net::HttpFields fields;
  const Rewriting how{proxy_.settings().pseudonym, rulings_[kCookies].blocked};
  if (rewrite_request(from, how, fields)) count_cookies();
  net::HttpOutgoing outgoing;
  outgoing.method = from.method;
  outgoing.target = target_.path;
  outgoing.host = target_.authority;
  outgoing.fields = &fields;
  outgoing.chunked = from.chunked;
  const bool bodyless = from.is("GET") || from.is("HEAD") || from.is("TRACE");
  if (!bodyless && from.content_length) outgoing.body_bytes = from.content_length;
  reused_ = connection.used();
  Result<net::HttpRequest> sent = connection.send(outgoing, origin_);
  if (!sent) {
    connection.let_go();
    refuse({400, "the request cannot be sent on"});
    return;
  }
  upstream_ = std::move(sent).value();
  if (!from.has_body()) upstream_.end();
  moved();
  if (request_whole_) await_response();
  resume_body();
}

void ProxyProtocol::body_received(std::string_view piece) {
  if (!upstream_.alive()) return;  // the answer came first, and does not want it
  upstream_.write(piece);
  moved();
  if (!upstream_.congested()) return;
  pause_body();
  upstream_.when_room([this] {
    moved();
    resume_body();
  });
}

void ProxyProtocol::body_ended() {
  if (!request().has_body()) return;
  request_whole_ = true;
  if (!upstream_.alive()) return;
  upstream_.end();
  if (!answer_.begun()) await_response();
}

/// The client has gone, or its body cannot be understood.
void ProxyProtocol::request_lost(const Error& /*reason*/) { give_up(); }

void ProxyProtocol::give_up() {
  late_ms_ = 0;
  dial_.reset();
  upstream_ = net::HttpRequest();
}

// --- the answer ---------------------------------------------------------------------------------------------------

void ProxyProtocol::response_received(const net::HttpResponseHead& head) {
  if (rulings_[kImages].blocked && is_image(head)) {
    upstream_ = net::HttpRequest();
    block(Blockable::images, "images of this host are blocked");
    return;
  }
  net::HttpAnswerHead answer(head.status);
  const Rewriting how{proxy_.settings().pseudonym, rulings_[kCookies].blocked};
  if (rewrite_response(head, how, answer)) count_cookies();
  answer_.begin(answer, head.content_length);
  moved();
}

void ProxyProtocol::response_body_received(std::string_view piece) {
  answer_.write(piece);
  moved();
  if (!answer_.congested()) return;
  upstream_.pause_body();
  answer_.when_room([this] {
    moved();
    upstream_.resume_body();
  });
}

void ProxyProtocol::response_ended() {
  late_ms_ = 0;
  net::HttpAnswer answer = std::move(answer_);
  answer.end();
}

void ProxyProtocol::response_failed(const Error& reason) {
  upstream_ = net::HttpRequest();
  if (!answer_.alive()) return;
  if (answer_.begun()) {
    late_ms_ = 0;
    answer_.abort("the origin's answer broke off: " + reason.message);
    return;
  }
  // What was kept may have been ended by the origin while our request was on its way.
  if (reused_ && may_retry_ && !proxy_.stopped()) {
    may_retry_ = false;
    ++proxy_.counts().retried;
    connect(target_.host + ":" + std::to_string(target_.port));
    return;
  }
  unreachable(502, "the origin gave no answer that can be understood: " + reason.message);
}

// --- tunnels ------------------------------------------------------------------------------------------------------

void ProxyProtocol::tunnel() {
  const std::vector<std::uint16_t>& ports = proxy_.settings().connect_ports;
  if (std::find(ports.begin(), ports.end(), target_.port) == ports.end()) {
    refuse({403, "tunnels to this port are not allowed"});
    return;
  }
  connect(target_.host + ":" + std::to_string(target_.port));
}

void ProxyProtocol::tunnel_connected(Dialled dialled) {
  if (dialled.status != 0) {
    unreachable(dialled.status, dialled.reason);
    return;
  }
  auto [client, origin] = TunnelEnd::make_pair(proxy_.reactor(), proxy_.upstreams(), std::move(dialled.slot));
  if (Result<void> begun = proxy_.upstreams().begin(std::move(dialled.socket), std::move(origin)); !begun) {
    unreachable(502, begun.error().message);
    return;
  }
  ++proxy_.counts().tunnels;
  net::HttpAnswer answer = std::move(answer_);
  answer.take_over(net::HttpAnswerHead(200), std::move(client));
}

// --- what is answered here ----------------------------------------------------------------------------------------

void ProxyProtocol::refuse(const Refused& refused) {
  ++proxy_.counts().refused;
  give_up();
  net::HttpAnswer answer = std::move(answer_);
  answer_with_page(answer, refused.status, request().target, refused.reason);
}

void ProxyProtocol::block(Blockable thing, const char* reason) {
  constexpr std::array<std::uint64_t RuleCounts::*, kBlockables> kCounts{&RuleCounts::connections, &RuleCounts::images,
                                                                         &RuleCounts::cookies};
  const auto which = static_cast<std::size_t>(thing);
  ++proxy_.counts().blocked;
  const Ruling& ruling = rulings_[which];
  const std::string name = rules_changed_ ? std::string() : proxy_.rules().names()[ruling.rule];
  if (!rules_changed_) proxy_.count(ruling, kCounts[which]);
  give_up();
  net::HttpAnswer answer = std::move(answer_);
  answer_with_page(answer, 403, target_.host, std::string(reason) + (name.empty() ? "" : " (rule '" + name + "')"));
}

void ProxyProtocol::unreachable(int status, std::string_view reason) {
  ++(status == 403 ? proxy_.counts().refused : proxy_.counts().unreachable);
  give_up();
  net::HttpAnswer answer = std::move(answer_);
  answer_with_page(answer, status, target_.authority, reason);
}

void ProxyProtocol::count_cookies() {
  if (std::exchange(cookies_counted_, true) || rules_changed_) return;
  proxy_.count(rulings_[kCookies], &RuleCounts::cookies);
}

void ProxyProtocol::await_response() { late_ms_ = proxy_.reactor().now_ms() + proxy_.settings().response_ms; }

void ProxyProtocol::moved() { late_ms_ = proxy_.reactor().now_ms() + proxy_.settings().transfer_ms; }

void ProxyProtocol::end_if_late(std::uint64_t now_ms) {
  if (late_ms_ == 0 || now_ms < late_ms_ || transport().ending()) return;
  if (!answer_.begun()) {
    unreachable(504, "the origin has not answered in time");
    return;
  }
  give_up();
  answer_.abort("no byte of a body has moved for " + duration_text(proxy_.settings().transfer_ms));
}

}  // namespace tap::services
