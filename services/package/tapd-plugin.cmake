# tapd_add_plugin(NAME SOURCES...): a shared object with kinds of services, NAME.so, for `plugin = "..."` in a config.
#
# It is compiled against tapd's headers and linked against none of its libraries: their code is the program's that loads it,
# so that there is one copy of everything. One of the sources has TAP_PLUGIN(...), see services/plugin.hpp. Warnings are the
# project's own affair. What else it needs is linked as usual: target_link_libraries(NAME PRIVATE ...).
function(tapd_add_plugin name)
  if(NOT ARGN)
    message(FATAL_ERROR "tapd_add_plugin(${name}): there are no sources")
  endif()
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE tapd::headers)
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".so" CXX_EXTENSIONS OFF)
  # g++ makes static objects of templates unique in the whole process, also between plugins that do not see each other:
  # two that have a type of the same name would share its codec.
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
endfunction()
