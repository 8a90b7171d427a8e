/* struct settings, made from settings.def: one member per setting, in lower case, durations in
 * microseconds and named so. */
#ifndef HYPRXA_CONFIG_SETTINGS_H
#define HYPRXA_CONFIG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct setting_strings { /* owned by the settings */
    char **items;
    size_t n;
};

/* Where a value comes from; a later one wins. */
enum setting_origin { SETTING_DEFAULT, SETTING_FILE, SETTING_ENVIRONMENT, SETTING_FLAG };

enum setting_index {
#define SETTING(kind, member, VARIABLE, ...) SETTING_INDEX_##VARIABLE,
#include "config/settings.def"
#undef SETTING
    SETTINGS_COUNT
};

#define SETTING_TYPE_STRING   char * /* never NULL; "" when not set */
#define SETTING_TYPE_SECRET   char *
#define SETTING_TYPE_CHOICE   char *
#define SETTING_TYPE_IGNORED  char *
#define SETTING_TYPE_BOOL     bool
#define SETTING_TYPE_INT      int64_t
#define SETTING_TYPE_SIZE     int64_t
#define SETTING_TYPE_DURATION int64_t
#define SETTING_TYPE_LIST     struct setting_strings

struct settings {
#define SETTING(kind, member, ...) SETTING_TYPE_##kind member;
#include "config/settings.def"
#undef SETTING
    unsigned char origin[SETTINGS_COUNT]; /* enum setting_origin, by setting_index */
};

#endif
