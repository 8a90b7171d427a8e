#include "options.h"

#include <hyprxa/helpers.h>

#include <stdlib.h>
#include <string.h>

enum { POLL_MIN_MS = 10, POLL_MAX_MS = 24 * 3600 * 1000, MESSAGE_SIZE = 200 };

/* The string `key` of `object`, or `fallback`, as memory of the caller's.  NULL: out of memory. */
static char *read_text(struct hyprxa_json object, const char *key, const char *fallback)
{
    struct hyprxa_json value = hyprxa_json_get(object, key);
    if (!value.text) {
        return strdup(fallback);
    }
    char *text = malloc(value.len + 1); /* decoding never lengthens */
    if (text && hyprxa_json_string(value, text, value.len + 1) != HYPRXA_OK) {
        text[0] = '\0'; /* the schema admits strings only; what is left is one with U+0000 */
    }
    return text;
}

/* <int>(ms|s|m|h), as the schema has checked. */
static int64_t read_duration_ms(const char *text)
{
    char *unit;
    int64_t n = strtoll(text, &unit, 10);
    int64_t factor = strcmp(unit, "ms") == 0 ? 1
                     : *unit == 's'          ? 1000
                     : *unit == 'm'          ? 60 * 1000
                                             : 3600 * 1000;
    return n <= POLL_MAX_MS ? n * factor : POLL_MAX_MS + 1;
}

static enum timestamp_kind kind_of(const char *format)
{
    return strcmp(format, "iso8601") == 0   ? TIMESTAMP_ISO8601
           : strcmp(format, "unix") == 0    ? TIMESTAMP_UNIX
           : strcmp(format, "unix_ms") == 0 ? TIMESTAMP_UNIX_MS
                                            : TIMESTAMP_PATTERN;
}

hyprxa_status csv_options_read(struct csv_options *options, const char *json,
                               struct hyprxa_error *err)
{
    struct hyprxa_json all = hyprxa_json_of(json), timestamp = hyprxa_json_get(all, "timestamp");
    char message[MESSAGE_SIZE];
    char *zone = read_text(timestamp, "timezone", "UTC");
    char *delimiter = read_text(all, "delimiter", ",");
    char *start = read_text(all, "start", "beginning");
    char *poll = read_text(all, "poll", "5s");
    hyprxa_status status = HYPRXA_OK;
    options->path = read_text(all, "path", "");
    options->timestamp_column = read_text(timestamp, "column", "timestamp");
    options->pattern = read_text(timestamp, "format", "iso8601");
    if (!zone || !delimiter || !start || !poll || !options->path || !options->timestamp_column ||
        !options->pattern) {
        status = hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        goto out;
    }
    options->delimiter = delimiter[0];
    options->start_at_end = strcmp(start, "end") == 0;
    options->poll_ms = read_duration_ms(poll);
    if (options->poll_ms < POLL_MIN_MS || options->poll_ms > POLL_MAX_MS) {
        status =
            hyprxa_error_set(err, HYPRXA_E_INVALID, "poll is '%s': expected 10ms to 24h", poll);
        goto out;
    }
    options->zone = zone_open(NULL, zone, message, sizeof(message));
    if (!options->zone) {
        status = hyprxa_error_set(err, HYPRXA_E_INVALID, "timestamp.timezone: %s", message);
        goto out;
    }
    options->format =
        (struct timestamp_format){kind_of(options->pattern), options->pattern, options->zone};
out:
    free(zone);
    free(delimiter);
    free(start);
    free(poll);
    return status;
}

void csv_options_release(struct csv_options *options)
{
    free(options->path);
    free(options->timestamp_column);
    free(options->pattern);
    zone_free(options->zone);
    *options = (struct csv_options){0};
}
