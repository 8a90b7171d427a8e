# Every third-party library is found here, once, and linked only where design allows it.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(JSONC REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
# Of the real back ends, each a module that is left out where its library is not there.
pkg_check_modules(RABBITMQ QUIET IMPORTED_TARGET librabbitmq)
pkg_search_module(MONGOC QUIET IMPORTED_TARGET libmongoc-1.0)
pkg_check_modules(MEMCACHED QUIET IMPORTED_TARGET libmemcached)
if(HYPRXA_TESTS)
  pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
endif()

# Debian's civetweb ships no pkg-config file in every release.
pkg_check_modules(CIVETWEB QUIET IMPORTED_TARGET civetweb)
if(CIVETWEB_FOUND)
  add_library(hyprxa_civetweb ALIAS PkgConfig::CIVETWEB)
else()
  find_path(CIVETWEB_INCLUDE civetweb.h REQUIRED)
  find_library(CIVETWEB_LIBRARY civetweb REQUIRED)
  add_library(hyprxa_civetweb UNKNOWN IMPORTED)
  set_target_properties(hyprxa_civetweb PROPERTIES
    IMPORTED_LOCATION "${CIVETWEB_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${CIVETWEB_INCLUDE}")
endif()
