/* Made for another contract: the symbol of ABI 2, whatever that will be. */
#include <stdint.h>

extern const uint32_t hyprxa_plugin_v2[4];
__attribute__((visibility("default"))) const uint32_t hyprxa_plugin_v2[4] = {512, 2, 0, 0};
