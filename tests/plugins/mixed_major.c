/* The symbol of ABI 1 with the number of another. */
#include <hyprxa/plugin.h>

const struct hyprxa_plugin hyprxa_plugin_v1 = {.size = sizeof(struct hyprxa_plugin),
                                               .abi_major = HYPRXA_ABI_MAJOR + 1};
