// Plugin: how a shared object that is not part of tapd says which kinds of services it has.
//
//     #include "services/plugin.hpp"
//     TAP_PLUGIN(tickets_kind(), queue_kind())
//
// once in one source of the plugin is all. The plugin is compiled against the installed headers and linked against none
// of tapd's libraries (tapd_add_plugin does that): the program that loads it has them, once.
//
// Tests: tests/services/plugins_test.cpp, tests/checks/plugin
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "services/kind.hpp"

namespace tap::services {

/// Grows whenever what an author sees (the installed headers) changes in a way that compiled plugins do not survive.
inline constexpr std::uint32_t kPluginAbiVersion = 1;
inline constexpr std::uint64_t kPluginMagic = 0x6e69'6775'6c70'7074;  ///< "tpplugin", as it lies in memory

/// What a plugin gives to the program. Plain data, so that it can be looked at before anything of it is believed.
struct PluginDescription {
  std::uint64_t magic = kPluginMagic;
  std::uint32_t abi_version = kPluginAbiVersion;
  std::uint32_t count = 0;                 ///< of kinds
  const char* tapd_version = nullptr;      ///< whose headers it was compiled with
  const char* stamp = nullptr;             ///< plugin_stamp(), as its compiler saw it
  std::uint64_t layout = 0;                ///< kPluginLayout, as its compiler saw it
  std::vector<Kind> (*kinds)() = nullptr;  ///< called once, after all of the above was checked; may throw
};

#define TAP_TEXT_OF_(x) #x
#define TAP_TEXT_OF(x) TAP_TEXT_OF_(x)
#ifndef TAP_VERSION
#define TAP_VERSION "0"
#endif

// What has to be the same on both sides for C++ objects to pass between them.
#if defined(__clang__)
#define TAP_STAMP_COMPILER "clang " TAP_TEXT_OF(__clang_major__)
#else
#define TAP_STAMP_COMPILER "gcc " TAP_TEXT_OF(__GNUC__)
#endif
#if defined(_GLIBCXX_RELEASE)
#define TAP_STAMP_LIBRARY "libstdc++ " TAP_TEXT_OF(_GLIBCXX_RELEASE) " abi " TAP_TEXT_OF(_GLIBCXX_USE_CXX11_ABI)
#else
#define TAP_STAMP_LIBRARY "libc++ " TAP_TEXT_OF(_LIBCPP_VERSION)
#endif
#if defined(_GLIBCXX_DEBUG)
#define TAP_STAMP_DEBUG ", debug containers"
#else
#define TAP_STAMP_DEBUG ""
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TAP_STAMP_SANITIZER ", address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define TAP_STAMP_SANITIZER ", thread sanitizer"
#else
#define TAP_STAMP_SANITIZER ""
#endif

/// "gcc 12, libstdc++ 12 abi 1": compiler and library of whoever includes this.
[[nodiscard]] constexpr const char* plugin_stamp() {
  return TAP_STAMP_COMPILER ", " TAP_STAMP_LIBRARY TAP_STAMP_DEBUG TAP_STAMP_SANITIZER;
}

/// The sizes of what passes between plugin and program, folded into one number: headers of another build of the same
/// version are found out by it, most of the time.
template <class... Types>
[[nodiscard]] consteval std::uint64_t layout_of() {
  std::uint64_t folded = 0xcbf2'9ce4'8422'2325;
  for (const std::size_t size : {sizeof(Types)...}) folded = (folded ^ size) * 0x100'0000'01b3;
  return folded;
}
inline constexpr std::uint64_t kPluginLayout =
    layout_of<Kind, OptionSpec, Options, Service, StatePort, net::Protocol, net::Factory, net::Reactor, net::Timer,
              Error, Result<void>, Durability, PluginDescription>();

}  // namespace tap::services

/// Lists the kinds of a plugin: expressions that each give a Kind. Once in a shared object.
#define TAP_PLUGIN(...)                                                                                    \
  extern "C" __attribute__((visibility("default"))) const tap::services::PluginDescription* tap_plugin() { \
    using namespace tap::services;                                                                         \
    static const PluginDescription description{kPluginMagic,                                               \
                                               kPluginAbiVersion,                                          \
                                               std::tuple_size_v<decltype(std::make_tuple(__VA_ARGS__))>,  \
                                               TAP_VERSION,                                                \
                                               plugin_stamp(),                                             \
                                               kPluginLayout,                                              \
                                               [] { return std::vector<Kind>{__VA_ARGS__}; }};             \
    return &description;                                                                                   \
  }
