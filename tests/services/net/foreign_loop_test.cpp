// Another loop drives ours, by backend_fd(): shown with GLib's.
#include <doctest/doctest.h>

#include <cstdio>

#include "services/net/reactor.hpp"
#include "tests/services/net/fixture.hpp"

#ifdef TAP_HAVE_GLIB
#include <glib-unix.h>
#include <glib.h>
#endif

using namespace tap;
using namespace tap::net;
using namespace tap::tests;

TEST_CASE("foreign loop: how long it may sleep follows our timers and our unfinished work") {
  Loop virtual_loop;  // on its clock nothing is ever slept for
  virtual_loop.turn(3);
  CHECK(virtual_loop.reactor.backend_timeout_ms() == -1);
  testing::RecordingLog log;
  Reactor reactor(log);
  for (int i = 0; i < 3; ++i) reactor.turn(false);
  CHECK(reactor.backend_timeout_ms() == -1);
  bool called = false;
  const Timer later = reactor.call_later(60'000, [] {});
  CHECK(reactor.backend_timeout_ms() > 50'000);
  const Timer now = reactor.call_later(0, [&] { called = true; });
  CHECK(reactor.backend_timeout_ms() == 0);
  reactor.turn(false);
  CHECK(called);
}

#ifdef TAP_HAVE_GLIB

namespace {

/// A source of GLib's that is a reactor.
struct ReactorSource {
  GSource source;
  Reactor* reactor;
  gpointer descriptor;

  static gboolean prepare(GSource* source, gint* timeout) {
    *timeout = reinterpret_cast<ReactorSource*>(source)->reactor->backend_timeout_ms();
    return *timeout == 0;
  }
  static gboolean check(GSource* source) {
    auto* self = reinterpret_cast<ReactorSource*>(source);
    return g_source_query_unix_fd(source, self->descriptor) != 0 || self->reactor->backend_timeout_ms() == 0;
  }
  static gboolean dispatch(GSource* source, GSourceFunc, gpointer) {
    reinterpret_cast<ReactorSource*>(source)->reactor->turn(false);
    return G_SOURCE_CONTINUE;
  }
};

}  // namespace

TEST_CASE("foreign loop: GLib drives a server with timers and work from another thread") {
  testing::RecordingLog log;
  Reactor reactor(log);
  GMainContext* context = g_main_context_new();
  GSourceFuncs functions{
      ReactorSource::prepare, ReactorSource::check, ReactorSource::dispatch, nullptr, nullptr, nullptr};
  GSource* source = g_source_new(&functions, sizeof(ReactorSource));
  auto* ours = reinterpret_cast<ReactorSource*>(source);
  ours->reactor = &reactor;
  ours->descriptor = g_source_add_unix_fd(source, reactor.backend_fd(), G_IO_IN);
  g_source_attach(source, context);

  const auto drive_until = [&](const std::function<bool()>& holds) {
    const gint64 deadline = g_get_monotonic_time() + gint64{20} * 1'000'000;
    // GLib sleeps as long as it is told to: a turn that should have come and does not makes this fail.
    GSource* alarm = g_timeout_source_new(1'000);
    g_source_set_callback(
        alarm, [](gpointer) -> gboolean { return G_SOURCE_CONTINUE; }, nullptr, nullptr);
    g_source_attach(alarm, context);
    while (!holds() && g_get_monotonic_time() < deadline) g_main_context_iteration(context, TRUE);
    g_source_destroy(alarm);
    g_source_unref(alarm);
    return holds();
  };

  {
    ScriptedFactory echo;
    echo.script = echo_script();
    Listener listener(reactor, echo, "echo", {});
    Result<BoundEndpoint> bound = bind_endpoint(*parse_endpoint("tcp:0:interface=127.0.0.1"), std::nullopt);
    REQUIRE(bound.ok());
    const auto port = static_cast<std::uint16_t>(std::stoi(bound->text.substr(bound->text.rfind(':') + 1)));
    REQUIRE(listener.listen(std::move(bound->fd), StreamKind::tcp, 16).ok());
    Peer peer = Peer::tcp(port);
    peer.send("through GLib");
    CHECK(drive_until([&] { return peer.read_now() != 0 || !peer.received().empty(); }));
    CHECK(peer.received() == "through GLib");
    bool fired = false;
    const Timer timer = reactor.call_later(20, [&] { fired = true; });
    CHECK(drive_until([&] { return fired; }));
    bool posted = false;
    reactor.post([&] { posted = true; });
    CHECK(drive_until([&] { return posted; }));
  }
  g_source_destroy(source);
  g_source_unref(source);
  g_main_context_unref(context);
}

#else

TEST_CASE("foreign loop: GLib drives a server with timers and work from another thread") {
  MESSAGE("skipped: GLib's headers are not installed (libglib2.0-dev; tools/setup --test)");
}

#endif
