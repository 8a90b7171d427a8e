/* The version of the binary contract between hyprxa and its plugins (hyprxa/plugin.h).
 *
 * MAJOR changes when something is broken, and the name of the entry symbol with it
 * (`hyprxa_plugin_v1`).  MINOR grows by one whenever a member is appended.  A host loads every plugin
 * of its own major, older or newer: what one side does not know it does not use (HYPRXA_HAS).
 *
 * History
 *   1.0  first release
 */
#ifndef HYPRXA_VERSION_H
#define HYPRXA_VERSION_H

#define HYPRXA_ABI_MAJOR 1u
#define HYPRXA_ABI_MINOR 0u

#endif
