# hyprxa::warnings and hyprxa::sanitize are linked PRIVATE by every target of ours; nothing is put in
# CMAKE_C_FLAGS, so that a plugin's or a distribution's own flags stay as they are.
add_library(hyprxa_warnings INTERFACE)
add_library(hyprxa::warnings ALIAS hyprxa_warnings)
target_compile_options(hyprxa_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
  $<$<BOOL:${HYPRXA_WERROR}>:-Werror>)

add_library(hyprxa_sanitize INTERFACE)
add_library(hyprxa::sanitize ALIAS hyprxa_sanitize)
if(HYPRXA_SANITIZE STREQUAL "address")
  set(flags -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g)
elseif(HYPRXA_SANITIZE STREQUAL "thread")
  set(flags -fsanitize=thread -fno-omit-frame-pointer -g)
elseif(HYPRXA_SANITIZE)
  message(FATAL_ERROR "HYPRXA_SANITIZE is '${HYPRXA_SANITIZE}': expected empty, address or thread")
endif()
target_compile_options(hyprxa_sanitize INTERFACE ${flags})
target_link_options(hyprxa_sanitize INTERFACE ${flags})

# hyprxa::defaults: what every target of ours is compiled with.
add_library(hyprxa_defaults INTERFACE)
add_library(hyprxa::defaults ALIAS hyprxa_defaults)
target_compile_definitions(hyprxa_defaults INTERFACE _GNU_SOURCE HYPRXA_VERSION="${PROJECT_VERSION}")
target_include_directories(hyprxa_defaults INTERFACE "${CMAKE_SOURCE_DIR}/core")
target_link_libraries(hyprxa_defaults INTERFACE hyprxa::warnings hyprxa::sanitize)
