# cmake -C tools/cmake/asan.cmake -S . -B build-asan
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(HYPRXA_SANITIZE address CACHE STRING "")
set(HYPRXA_WERROR ON CACHE BOOL "")
