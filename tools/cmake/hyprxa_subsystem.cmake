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

# hyprxa_back_end(NAME SOURCES a.c ... USES broker LIBS PkgConfig::X): a real back end as the module
#   backends/NAME.so, which base/module.c loads when it is configured.  Left out, with a message, where
#   its library is not installed.  Of what it uses it carries what it calls; base is shared.
function(hyprxa_back_end name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;LIBS" ${ARGN})
  foreach(library IN LISTS arg_LIBS)
    if(NOT TARGET ${library})
      message(STATUS "The back end '${name}' is left out: ${library} is not installed")
      return()
    endif()
  endforeach()
  list(TRANSFORM arg_USES PREPEND "hyprxa::")
  add_library(hyprxa_backend_${name} MODULE ${arg_SOURCES})
  target_link_libraries(hyprxa_backend_${name} PRIVATE hyprxa::defaults ${arg_USES} ${arg_LIBS})
  set_target_properties(hyprxa_backend_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} C_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/backends" INSTALL_RPATH "$ORIGIN/..")
  # What is linked in from static libraries stays inside.
  target_link_options(hyprxa_backend_${name} PRIVATE -Wl,--exclude-libs,ALL)
  install(TARGETS hyprxa_backend_${name}
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/hyprxa/backends")
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
