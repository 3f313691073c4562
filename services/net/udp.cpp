#include "services/net/udp.hpp"

#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

#include "services/net/refusal.hpp"

namespace tap::net {

/// The libuv handle and the way back; the loop frees it.
struct UdpTransport::Box {
  uv_poll_t poll{};
  UdpTransport* owner = nullptr;
};

namespace {

/// Room for the one control message we ask for, of either family.
struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(in6_pktinfo))];
};

/// Which of our addresses it came to. False: it came to everybody.
bool take_destination(msghdr& message, DatagramAddress& from) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      // For a datagram to this host alone both are the address it was sent to (ip(7)).
      if (info.ipi_spec_dst.s_addr != 0 && info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr) return false;
      from.set_local(info.ipi_spec_dst);
    }
    if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(item), sizeof info);
      if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr) != 0) return false;
      from.set_local(info.ipi6_addr);
    }
  }
  return true;
}

template <class Info>
void put_control(msghdr& message, Control& control, int level, int type, const Info& info) {
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof info);
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = level;
  item->cmsg_type = type;
  item->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(item), &info, sizeof info);
}

/// An answer comes from where the question went.
void put_source(msghdr& message, Control& control, const DatagramAddress& to) {
  if (to.is_v6()) {
    if (IN6_IS_ADDR_UNSPECIFIED(&to.local_v6()) != 0) return;
    put_control(message, control, IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{to.local_v6(), 0});
  } else if (to.local_v4().s_addr != 0) {
    put_control(message, control, IPPROTO_IP, IP_PKTINFO, in_pktinfo{0, to.local_v4(), {}});
  }
}

}  // namespace

DatagramCounts& DatagramCounts::operator+=(const DatagramCounts& other) {
  received += other.received;
  sent += other.sent;
  refused += other.refused;
  failed += other.failed;
  dropped += other.dropped;
  to_everybody += other.to_everybody;
  return *this;
}

UdpTransport::UdpTransport(Reactor& reactor, std::string service, std::unique_ptr<DatagramProtocol> protocol,
                           const std::vector<std::uint16_t>& ports, Gate* gate)
    : reactor_(reactor),
      service_(std::move(service)),
      protocol_(std::move(protocol)),
      ports_(ports),
      gate_(gate),
      read_errors_(reactor, LogLevel::error, service_, "cannot read datagrams, trying again"),
      failures_(reactor, LogLevel::warning, service_, "a datagram is given up, the protocol threw"),
      drops_(reactor, LogLevel::warning, service_, "an answer is dropped") {
  TAP_ASSERT(protocol_ != nullptr);
  protocol_->attach(*this);
}

UdpTransport::~UdpTransport() { close(); }

Result<void> UdpTransport::open(Fd bound) {
  TAP_ASSERT(box_ == nullptr);
  fd_ = std::move(bound);
  auto box = std::make_unique<Box>();
  if (const int status = uv_poll_init(reactor_.loop(), &box->poll, fd_.get()); status != 0) {
    return Error{Fault::internal, std::string("watching a socket: ") + uv_strerror(status)};
  }
  box_ = box.release();
  box_->owner = this;
  if (!reactor_.guarded(service_, [this] { protocol_->start_protocol(); })) {
    return Error{Fault::internal, "its protocol threw when it was started"};
  }
  update_polling();
  return {};
}

void UdpTransport::close() {
  if (box_ == nullptr) return;
  read_pause_.cancel();
  if (dirty_) reactor_.forget(*this);
  if (waiting_) gate_->forget(*this);
  queue_.clear();
  queued_bytes_ = 0;
  account_held();
  box_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&box_->poll),
           [](uv_handle_t* handle) { delete reinterpret_cast<Box*>(handle); });
  box_ = nullptr;
  fd_.reset();  // the loop has stopped looking at it
  reactor_.guarded(service_, [this] { protocol_->stop_protocol(); });
  if (draining_) tell_drained();  // nothing is left to wait for
}

bool UdpTransport::serves_port(std::uint16_t port) const {
  return std::find(ports_.begin(), ports_.end(), port) != ports_.end();
}

/// Watches exactly for what somebody waits for.
void UdpTransport::update_polling() {
  if (box_ == nullptr) return;
  const bool reading = !draining_ && !throttled_ && !read_pause_.active();
  const int wanted = (reading ? UV_READABLE : 0) | (blocked_ ? UV_WRITABLE : 0);
  if (wanted == polled_) return;
  polled_ = wanted;
  if (wanted == 0) {
    uv_poll_stop(&box_->poll);
    return;
  }
  TAP_ASSERT(uv_poll_start(&box_->poll, wanted, [](uv_poll_t* poll, int status, int events) {
               UdpTransport* owner = reinterpret_cast<Box*>(poll)->owner;
               if (owner == nullptr) return;
               if ((events & UV_WRITABLE) != 0) owner->flush_at_turn_end();
               // With an error of the socket: reading it is what takes it away.
               if (status != 0 || (events & UV_READABLE) != 0) owner->readable();
             }) == 0);
}

// --- in ---------------------------------------------------------------------------------------------------------

void UdpTransport::readable() {
  for (std::size_t i = 0; i < kReadsPerTurnMax && (polled_ & UV_READABLE) != 0; ++i) {
    if (!receive_one()) break;
  }
  reactor_.settle_if_due();
}

/// False when there is nothing more to read now.
bool UdpTransport::receive_one() {
  const std::span<char> shared = reactor_.receive_buffer();
  sockaddr_in6 address{};
  Control control;
  iovec bytes{shared.data(), shared.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof address;
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  ssize_t got = 0;
  do got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) pause_reading(errno);
    return false;
  }
  DatagramAddress from(reinterpret_cast<const sockaddr*>(&address));
  if (!take_destination(message, from)) {
    ++counts_.to_everybody;
    return true;
  }
  ++counts_.received;
  deliver({shared.data(), static_cast<std::size_t>(got)}, from);
  return true;
}

/// The door to the protocol: what it throws ends this datagram and nothing else.
void UdpTransport::deliver(std::string_view datagram, const DatagramAddress& from) {
  std::string thrown_text;
  try {
    protocol_->datagram_received(datagram, from);
    return;
  } catch (const Refusal&) {
    ++counts_.refused;  // an answer, and no failure; there is just no way to send it
    return;
  } catch (const std::exception& thrown) {
    thrown_text = thrown.what();
  } catch (...) {
    thrown_text = "something that is no exception";
  }
  ++counts_.failed;
  failures_.say(from.text() + ": " + thrown_text);
}

void UdpTransport::pause_reading(int code) {
  read_errors_.say(std::strerror(code));
  read_pause_ = reactor_.call_later(kReadPauseMs, [this] { update_polling(); });
  update_polling();
}

void UdpTransport::refuse(std::string_view why, const DatagramAddress& from) {
  ++counts_.refused;
  const auto known =
      std::find_if(refusals_.begin(), refusals_.end(), [&](const RepeatedLine& line) { return line.about() == why; });
  RepeatedLine* line = known == refusals_.end() ? nullptr : &*known;
  if (line == nullptr && refusals_.size() == kReasonsMax) line = &refusals_.back();
  if (line == nullptr) line = &refusals_.emplace_back(reactor_, LogLevel::warning, service_, std::string(why));
  if (line->quiet()) line->count();
  else line->say("the first is of " + from.text());
}

// --- out --------------------------------------------------------------------------------------------------------

void UdpTransport::write(std::string_view datagram, const DatagramAddress& to) {
  if (box_ == nullptr) return;
  if (datagram.size() > kDatagramBytesMax) {
    drop("it has " + std::to_string(datagram.size()) + " bytes, a datagram at most " +
         std::to_string(kDatagramBytesMax));
    return;
  }
  Waiting waiting{to, std::string(datagram), gate_ != nullptr && gate_->closed() ? gate_->last() : 0};
  if (queued_bytes_ + waiting.cost() > kQueueBytesMax) {
    drop("more than " + std::to_string(kQueueBytesMax) + " bytes wait to be sent");
    return;
  }
  queued_bytes_ += waiting.cost();
  queue_.push_back(std::move(waiting));
  if (!throttled_ && queued_bytes_ > kHighWaterBytes) {
    throttled_ = true;
    update_polling();
  }
  flush_at_turn_end();
}

void UdpTransport::drop(std::string_view why) {
  ++counts_.dropped;
  drops_.say(why);
}

void UdpTransport::flush_at_turn_end() {
  if (dirty_) return;
  dirty_ = true;
  reactor_.flush_later(*this);
}

void UdpTransport::gate_passed() {
  waiting_ = false;
  flush_at_turn_end();
}

bool UdpTransport::must_wait(const Waiting& next) {
  if (next.position == 0 || next.position <= gate_->passed()) return false;
  if (!waiting_) {
    waiting_ = true;
    gate_->wait(*this);
  }
  return true;
}

void UdpTransport::flush() {
  dirty_ = false;
  if (box_ == nullptr) return;
  blocked_ = false;
  while (!queue_.empty() && !must_wait(queue_.front())) {
    if (!send_now(queue_.front())) {
      blocked_ = true;
      break;
    }
    queued_bytes_ -= queue_.front().cost();
    queue_.pop_front();
  }
  account_held();
  if (throttled_ && queued_bytes_ <= kHighWaterBytes / 2) throttled_ = false;
  update_polling();
  if (draining_ && queue_.empty()) tell_drained();
}

/// False when the kernel takes nothing at present. Whatever else goes wrong costs this datagram.
bool UdpTransport::send_now(const Waiting& next) {
  iovec bytes{const_cast<char*>(next.bytes.data()), next.bytes.size()};
  Control control;
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(next.to.raw());
  message.msg_namelen = next.to.raw_size();
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  put_source(message, control, next.to);
  ssize_t sent = 0;
  do sent = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    ++counts_.sent;
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  const int code = errno;
  ++counts_.dropped;
  if (drops_.quiet()) drops_.count();
  else drops_.say("sending to " + next.to.text() + ": " + std::strerror(code));
  return true;
}

/// What the gate is told that we hold: all that waits behind the first that waits for it.
void UdpTransport::account_held() {
  const std::size_t held = waiting_ ? queued_bytes_ : 0;
  if (held == held_accounted_) return;
  gate_->hold(static_cast<std::ptrdiff_t>(held) - static_cast<std::ptrdiff_t>(held_accounted_));
  held_accounted_ = held;
}

// --- the end ----------------------------------------------------------------------------------------------------

void UdpTransport::drain(std::function<void()> done) {
  drained_ = std::move(done);
  draining_ = true;
  update_polling();
  if (queue_.empty()) tell_drained();
}

void UdpTransport::tell_drained() {
  if (!drained_ || drain_end_.active()) return;
  drain_end_ = reactor_.call_later(0, [this] {
    if (!queue_.empty()) return;  // somebody has written meanwhile: flush() comes back here
    const std::function<void()> tell = std::exchange(drained_, nullptr);
    if (tell) tell();  // last: it may end us
  });
}

}  // namespace tap::net
