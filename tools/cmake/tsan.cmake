# cmake -C tools/cmake/tsan.cmake -S . -B build-tsan
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(HYPRXA_SANITIZE thread CACHE STRING "")
set(HYPRXA_WERROR ON CACHE BOOL "")
