# What the plugins of this tree share besides the SDK.

# embed_text(TARGET FILE): make FILE, such as options.schema.json, the constant text
# options_schema_json in the header options_schema_json.h, which TARGET's sources may include.
function(embed_text target file)
  string(MAKE_C_IDENTIFIER "${file}" name)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  file(READ "${CMAKE_CURRENT_SOURCE_DIR}/${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/${name}.h"
    CONTENT "static const char ${name}[] = {@bytes@0};\n" @ONLY)
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
endfunction()

# plugin_of_the_tree(NAME): what its sources may expect, and where it is installed.
function(plugin_of_the_tree name)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE Threads::Threads)
  install(TARGETS ${name} LIBRARY DESTINATION "${HYPRXA_PLUGIN_INSTALL_DIR}")
endfunction()
