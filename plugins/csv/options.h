/* The options of a source, read and checked. */
#ifndef HYPRXA_CSV_OPTIONS_H
#define HYPRXA_CSV_OPTIONS_H

#include "timestamp.h"

#include <hyprxa/plugin.h>

#include <stdbool.h>
#include <stdint.h>

struct csv_options {
    char *path;
    char *timestamp_column;
    char *pattern; /* of the timestamp format */
    struct zone *zone;
    struct timestamp_format format;
    char delimiter;
    bool start_at_end;
    int64_t poll_ms;
};

/* `json` is valid against the options schema.  Release after a failure, too. */
hyprxa_status csv_options_read(struct csv_options *options, const char *json,
                               struct hyprxa_error *err);
void csv_options_release(struct csv_options *options);

#endif
