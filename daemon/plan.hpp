// WorkerPlan: everything a worker needs to know, validated once; its descriptors are inherited under the same numbers.
//
// The keeper writes it into a memory file that each worker inherits: a worker that is started again gets the same
// plan, never a half-edited config. A newer binary will read it too, so it has a version.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/log.hpp"
#include "services/kind.hpp"
#include "services/net/endpoint.hpp"
#include "state/base/result.hpp"
#include "state/definition.hpp"

namespace tap::daemon {

struct PlannedSocket {
  std::string service;
  std::string text;
  std::string endpoint;  ///< as it was written
  std::int32_t fd = -1;  ///< -1: standard input and output
  bool tcp = true;
  std::int32_t backlog = 0;
  bool datagram = false;
  bool proxied = false;
  bool encrypted = false;
  net::TlsServerSettings tls = {};  ///< when encrypted; its paths are absolute

  template <class Archive>
  void serialize(Archive& archive);
};

/// A plugin whose bytes are kept in memory: what the file on the disk has become since does not matter.
struct PlannedPlugin {
  std::string path;
  std::int32_t fd = -1;

  template <class Archive>
  void serialize(Archive& archive);
};

struct WorkerPlan {
  static constexpr std::uint32_t kSchemaVersion = 3;

  state::Definition definition;
  std::vector<PlannedSocket> sockets;
  std::vector<PlannedPlugin> plugins;
  std::int32_t store_fd = -1;    ///< the store's directory; -1: --no-save without a store
  std::int32_t lock_fd = -1;     ///< the store's LOCK, held
  std::int32_t channel_fd = -1;  ///< to the keeper
  std::int32_t log_fd = -1;
  bool save = true;
  Bytes archive;  ///< for --no-save without a store: the archive of -f, or empty
  bool change_identity = false;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string chroot;
  std::string start_dir;  ///< where relative paths in the services' options begin
  std::uint8_t log_target = 0;
  std::string syslog_ident;
  std::string log_level;
  std::int32_t keeper_pid = 0;  ///< 0: there is none

  [[nodiscard]] LogPlan log() const;
  /// The descriptors the worker must inherit.
  [[nodiscard]] std::vector<int> descriptors() const;

  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version);
};

/// Loads the plan's plugins; before privileges are dropped, since /proc may be out of reach afterwards. Errors: config.
[[nodiscard]] Result<void> load_planned_plugins(const WorkerPlan& plan, services::Registry& kinds);

/// A memory file with the plan in it. Errors: internal.
[[nodiscard]] Result<Fd> write_plan(const WorkerPlan& plan);
/// Errors: internal: a keeper and a worker that do not understand each other.
[[nodiscard]] Result<WorkerPlan> read_plan(int fd);

}  // namespace tap::daemon
