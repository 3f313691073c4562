#include "services/net/tls_layer.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>

#include "services/net/tls_files.hpp"

namespace tap::net {

// --- what OpenSSL reads from and writes to ----------------------------------------------------------------------

struct TlsLayer::Io {
  static int read(BIO* bio, char* into, int size) {
    auto& layer = *static_cast<TlsLayer*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (layer.input_.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t taken = std::min(layer.input_.size(), static_cast<std::size_t>(size));
    std::copy_n(layer.input_.data(), taken, into);
    layer.input_.remove_prefix(taken);
    return static_cast<int>(taken);
  }
  static int write(BIO* bio, const char* bytes, int size) {
    auto& layer = *static_cast<TlsLayer*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    layer.transport().write({bytes, static_cast<std::size_t>(size)});
    return size;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static int make(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }
  /// One for the process, as OpenSSL wants it; never changed after.
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tapd layer");
      TAP_ASSERT(method != nullptr);
      BIO_meth_set_read(method, read);
      BIO_meth_set_write(method, write);
      BIO_meth_set_ctrl(method, control);
      BIO_meth_set_create(method, make);
      return method;
    }();
    return made;
  }
};

/// What is written above during a call from below is encrypted at its end.
class TlsLayer::Inside {
 public:
  explicit Inside(TlsLayer& layer) : layer_(layer) { ++layer_.inside_; }
  ~Inside() {
    if (--layer_.inside_ == 0) layer_.encrypt_waiting();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  TlsLayer& layer_;
};

TlsLayer::TlsLayer(const LayerPlace& place, TlsSession session, Settled settled)
    : Layer(place), session_(std::move(session)), settled_(std::move(settled)) {
  BIO* bio = BIO_new(Io::method());
  TAP_ASSERT(bio != nullptr);
  BIO_set_data(bio, this);
  SSL_set_bio(session_.ssl.get(), bio, bio);
}

TlsLayer::~TlsLayer() = default;

// --- from below -------------------------------------------------------------------------------------------------

void TlsLayer::connection_made() {
  expect_within(kHandshakeWithinMs, "the TLS handshake took longer than " + std::to_string(kHandshakeWithinMs) + " ms");
  shake_hands();  // a client speaks first
}

void TlsLayer::consume(std::string_view& data) {
  const Inside inside(*this);
  input_ = data;
  if (!shaken_ && !broken_) shake_hands();
  if (shaken_) read_records();
  data = broken_ || peer_closed_ ? std::string_view() : input_;
  input_ = {};
}

void TlsLayer::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(session_.ssl.get());
  if (result != 1) {
    broken(result);
    return;
  }
  shaken_ = true;
  learn();
  const Inside inside(*this);
  if (open_above()) settle(above());
}

void TlsLayer::read_records() {
  std::array<char, kRecordBytesMax> record;  // NOLINT: filled by SSL_read
  while (!paused() && !peer_closed_ && !broken_ && !ending()) {
    ERR_clear_error();
    const int got = SSL_read(session_.ssl.get(), record.data(), static_cast<int>(record.size()));
    if (got > 0) {
      deliver({record.data(), static_cast<std::size_t>(got)});
    } else if (SSL_get_error(session_.ssl.get(), got) == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
      deliver_end();
      if (close_sent_) lose_connection();  // both sides have ended it
    } else {
      broken(got);
      return;
    }
  }
}

/// Looks at what OpenSSL could not do; waiting for more is no failure. Its alert to the peer is written by now.
void TlsLayer::broken(int result) {
  const int error = SSL_get_error(session_.ssl.get(), result);
  if (error == SSL_ERROR_WANT_READ || broken_) return;
  broken_ = true;
  std::string reason = openssl_reason();
  const long verified = SSL_get_verify_result(session_.ssl.get());
  if (verified != X509_V_OK && SSL_get_verify_mode(session_.ssl.get()) != SSL_VERIFY_NONE) {
    reason += std::string(" (") + X509_verify_cert_error_string(verified) + ")";
  }
  reason.insert(0, shaken_ ? "TLS: " : "the TLS handshake failed: ");
  explain_loss(Error{Fault::unavailable, reason});
  const bool told = settled_ != nullptr;
  settle(Error{Fault::unavailable, reason});
  if (!told) say_closed(reason);  // else whoever connects says what it makes of it
  waiting_.clear();
  closing_ = true;
  transport().lose_connection();
}

void TlsLayer::end_received() {
  if (peer_closed_ || broken_) return;  // its end has been told
  const char* why = shaken_ ? "the peer ended without TLS's close_notify: what it sent may be cut off"
                            : "the peer ended within the TLS handshake";
  explain_loss(Error{Fault::unavailable, why});
  settle(Error{Fault::unavailable, why});
  lose_connection();
}

void TlsLayer::output_drained() {
  const Inside inside(*this);
  Layer::output_drained();
}

void TlsLayer::before_stop() {
  const Inside inside(*this);
  Layer::before_stop();
  lose_connection();
}

void TlsLayer::connection_lost(const Error& reason) {
  Layer::connection_lost(reason);
  settle(Error{reason});
}

void TlsLayer::abandon() {
  settled_ = nullptr;
  abort_connection();
}

void TlsLayer::settle(Result<Protocol*> result) {
  if (const Settled tell = std::exchange(settled_, nullptr)) tell(std::move(result));
}

void TlsLayer::learn() {
  SSL* ssl = session_.ssl.get();
  info_.version = SSL_get_version(ssl);
  info_.cipher = SSL_get_cipher_name(ssl);
  info_.resumed = SSL_session_reused(ssl) == 1;
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) info_.server_name = name;
  const unsigned char* alpn = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &size);
  if (size != 0) info_.alpn.assign(reinterpret_cast<const char*>(alpn), size);
  const X509* peer = SSL_get0_peer_certificate(ssl);
  if (peer == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return;
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), BIO_free);
  X509_NAME_print_ex(text.get(), X509_get_subject_name(peer), 0, XN_FLAG_RFC2253);
  char* bytes = nullptr;
  const long length = BIO_get_mem_data(text.get(), &bytes);
  info_.peer_subject.assign(bytes, static_cast<std::size_t>(length));
}

// --- from above -------------------------------------------------------------------------------------------------

void TlsLayer::write(std::string_view bytes) {
  if (bytes.empty() || ending() || close_sent_ || !shaken_) return;
  if (waiting_.size() + bytes.size() < kRecordBytesMax) {
    if (waiting_.empty()) waiting_ = reactor().take_buffer();
    waiting_ += bytes;
    if (inside_ == 0) encrypt_waiting();
    return;
  }
  encrypt_waiting();
  encrypt(bytes);
}

void TlsLayer::encrypt_waiting() {
  if (waiting_.empty()) return;
  std::string bytes = std::exchange(waiting_, std::string());
  encrypt(bytes);
  reactor().give_buffer(std::move(bytes));
}

void TlsLayer::encrypt(std::string_view bytes) {
  if (broken_ || transport().ending()) return;
  ERR_clear_error();
  std::size_t written = 0;
  const int result = SSL_write_ex(session_.ssl.get(), bytes.data(), bytes.size(), &written);
  if (result != 1) broken(result);
}

void TlsLayer::send_close_notify() {
  encrypt_waiting();
  if (close_sent_ || !shaken_ || broken_) return;
  close_sent_ = true;
  ERR_clear_error();
  (void)SSL_shutdown(session_.ssl.get());
}

void TlsLayer::lose_connection() {
  if (ending()) return;
  send_close_notify();
  closing_ = true;
  transport().lose_connection();
}

void TlsLayer::lose_write_connection() {
  if (ending() || close_sent_) return;
  send_close_notify();
  if (peer_closed_) transport().lose_connection();
  else transport().lose_write_connection();
}

// --- factory ----------------------------------------------------------------------------------------------------

std::unique_ptr<Protocol> TlsServerFactory::build_protocol() {
  keys_.refresh(place_.reactor.now_ms(), place_.reactor.log(), place_.service);
  Result<TlsSession> session = keys_.make_session();
  if (!session) {
    place_.reactor.log().write(LogLevel::error, place_.service, session.error().message);
    return nullptr;
  }
  return std::make_unique<TlsLayer>(place_, std::move(session).value());
}

}  // namespace tap::net
