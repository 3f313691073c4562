#include "daemon/plan.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include "services/plugins.hpp"
#include "state/definition_serialize.hpp"
#include "state/files.hpp"

namespace tap::daemon {

template <class Archive>
void PlannedSocket::serialize(Archive& archive) {
  archive(service, text, endpoint, fd, tcp, backlog, datagram, proxied, encrypted);
  auto verify = static_cast<std::uint8_t>(tls.client_verify);
  archive(tls.private_key, tls.certificate, tls.extra_chain, tls.client_ca, verify, tls.alpn, tls.sni_directory);
  tls.client_verify = static_cast<net::TlsServerSettings::ClientVerify>(verify);
}

template <class Archive>
void PlannedPlugin::serialize(Archive& archive) {
  archive(path, fd);
}

template <class Archive>
void WorkerPlan::serialize(Archive& stream, std::uint32_t /*version*/) {
  state::NewestDefinition schema{definition};
  stream(schema);
  definition = std::move(schema.value);
  stream(sockets, plugins, store_fd, lock_fd, channel_fd, log_fd, save, archive, change_identity, uid, gid, chroot,
         start_dir, log_target, syslog_ident, log_level, keeper_pid);
}

LogPlan WorkerPlan::log() const {
  LogPlan plan;
  plan.target = static_cast<LogPlan::Target>(log_target);
  plan.syslog_ident = syslog_ident;
  plan.level = log_level;
  return plan;
}

std::vector<int> WorkerPlan::descriptors() const {
  std::vector<int> all;
  for (const int fd : {store_fd, lock_fd, channel_fd, log_fd}) {
    if (fd >= 0) all.push_back(fd);
  }
  for (const PlannedSocket& socket : sockets) {
    if (socket.fd >= 0) all.push_back(socket.fd);
  }
  for (const PlannedPlugin& plugin : plugins) all.push_back(plugin.fd);
  return all;
}

Result<void> load_planned_plugins(const WorkerPlan& plan, services::Registry& kinds) {
  services::Plugins plugins(kinds);
  for (const PlannedPlugin& plugin : plan.plugins) {
    if (Result<void> loaded = plugins.load_kept({plugin.path, plugin.fd}); !loaded) return loaded;
  }
  return {};
}

Result<Fd> write_plan(const WorkerPlan& plan) {
  Result<Bytes> bytes = state::encode(plan);
  if (!bytes) return std::move(bytes).error();
  Fd fd(::memfd_create("tapd-plan", MFD_CLOEXEC));
  if (!fd.open()) return errno_error(Fault::internal, "making the worker's plan");
  if (Result<void> written = state::write_all(fd.get(), *bytes); !written) return std::move(written).error();
  return fd;
}

Result<WorkerPlan> read_plan(int fd) {
  struct stat found {};
  if (::fstat(fd, &found) != 0) return errno_error(Fault::internal, "reading the worker's plan");
  Bytes bytes(static_cast<std::size_t>(found.st_size), '\0');
  // pread: the file's position is shared with the keeper and with workers that came before.
  if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return errno_error(Fault::internal, "reading the worker's plan");
  }
  WorkerPlan plan;
  if (Result<void> decoded = state::decode(bytes, plan); !decoded) {
    return Error{Fault::internal, "the worker's plan: " + decoded.error().message};
  }
  return plan;
}

}  // namespace tap::daemon
