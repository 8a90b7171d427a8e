# hyprxa_add_plugin(NAME sources...): a plugin as a module NAME.so (no "lib") that exports
# hyprxa_plugin_v1 and nothing else, and that may leave no symbol unresolved.
#
# Variables: HYPRXA_PLUGIN_OUTPUT_DIRECTORY, where to put it (default: CMake's); and
# HYPRXA_PLUGIN_LIBRARIES, what else every plugin links (default: nothing).
function(hyprxa_add_plugin name)
  set(map "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map")
  add_library(${name} MODULE ${ARGN})
  set_target_properties(${name} PROPERTIES
    PREFIX "" SUFFIX ".so"
    POSITION_INDEPENDENT_CODE ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS "${map}")
  target_link_libraries(${name} PRIVATE hyprxa::sdk ${HYPRXA_PLUGIN_LIBRARIES})
  target_link_options(${name} PRIVATE "-Wl,--no-undefined" "-Wl,--version-script=${map}")
  if(HYPRXA_PLUGIN_OUTPUT_DIRECTORY)
    set_target_properties(${name} PROPERTIES
      LIBRARY_OUTPUT_DIRECTORY "${HYPRXA_PLUGIN_OUTPUT_DIRECTORY}")
  endif()
endfunction()
