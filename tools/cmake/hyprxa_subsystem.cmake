# hyprxa_subsystem(NAME SOURCES a.c ... USES base config ... LIBS PkgConfig::X ...)
#   A folder of core as the static library hyprxa::NAME.  USES are its arrows (also checked by
#   tools/check-includes); LIBS are the third-party libraries that may be seen in this folder only.
function(hyprxa_subsystem name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;LIBS" ${ARGN})
  list(TRANSFORM arg_USES PREPEND "hyprxa::")
  add_library(hyprxa_${name} STATIC ${arg_SOURCES})
  add_library(hyprxa::${name} ALIAS hyprxa_${name})
  target_link_libraries(hyprxa_${name} PUBLIC ${arg_USES} PRIVATE hyprxa::defaults ${arg_LIBS})
endfunction()

# hyprxa_unit_test(SUBSYSTEM SOURCES ... [LIBS ...]): one Criterion binary per subsystem, label "unit".
function(hyprxa_unit_test subsystem)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(unit_${subsystem} ${arg_SOURCES})
  target_link_libraries(unit_${subsystem} PRIVATE
    hyprxa::defaults hyprxa::${subsystem} ${arg_LIBS} PkgConfig::CRITERION PkgConfig::JSONC)
  target_include_directories(unit_${subsystem} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  add_test(NAME unit.${subsystem} COMMAND unit_${subsystem})
  set_tests_properties(unit.${subsystem} PROPERTIES LABELS unit TIMEOUT 300)
endfunction()
