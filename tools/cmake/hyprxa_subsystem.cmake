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

# hyprxa_use_criterion(TARGET): link the test framework; under ThreadSanitizer, where Criterion does not
# start, the stand-in of tests/tsan.
function(hyprxa_use_criterion target)
  if(HYPRXA_SANITIZE STREQUAL "thread")
    target_sources(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests/tsan/main.c")
    target_include_directories(${target} SYSTEM BEFORE PRIVATE "${CMAKE_SOURCE_DIR}/tests/tsan")
  else()
    target_link_libraries(${target} PRIVATE PkgConfig::CRITERION)
  endif()
endfunction()

# hyprxa_criterion_test(NAME TARGET LABEL): have ctest run a Criterion binary.
function(hyprxa_criterion_test name target label)
  hyprxa_use_criterion(${target})
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 300)
  if(HYPRXA_SANITIZE STREQUAL "address")
    # Criterion loses 48 bytes of its own now and then (a stack without names), and does not count a
    # leak of a test as its failure: the output decides, not the exit code.
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "LSAN_OPTIONS=exitcode=0"
      FAIL_REGULAR_EXPRESSION "LeakSanitizer: detected memory leaks.*#1 0x[0-9a-f]+ in ")
  endif()
endfunction()

# hyprxa_unit_test(SUBSYSTEM SOURCES ... [LIBS ...]): one Criterion binary per subsystem, label "unit".
function(hyprxa_unit_test subsystem)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(unit_${subsystem} ${arg_SOURCES})
  target_link_libraries(unit_${subsystem} PRIVATE
    hyprxa::defaults hyprxa::${subsystem} ${arg_LIBS} PkgConfig::JSONC)
  target_include_directories(unit_${subsystem} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  hyprxa_criterion_test(unit.${subsystem} unit_${subsystem} unit)
endfunction()
