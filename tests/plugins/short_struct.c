/* Claims fewer bytes than ABI 1.0 has. */
#include <hyprxa/plugin.h>

const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = offsetof(struct hyprxa_plugin, scopes),
    .abi_major = HYPRXA_ABI_MAJOR,
    .name = "short_struct",
    .version = "1.0",
    .description = "Too short.",
};
