/* Counts and tells malformed rows, without flooding the log. */
#ifndef HYPRXA_CSV_REPORT_H
#define HYPRXA_CSV_REPORT_H

#include <hyprxa/plugin.h>

#include <stdatomic.h>
#include <stdint.h>

/* Shared by the connections of a source and whoever asks for its details. */
struct csv_counters {
    atomic_ullong rows, malformed, files, restarts;
};

struct report {
    struct hyprxa_ctx *ctx;
    struct csv_counters *counters;
    int64_t window_end_ms; /* monotonic; in each window so many are told */
    unsigned told, untold;
};

/* A row, or a cell of it, cannot be used.  Counted; the first of each ten seconds are logged. */
__attribute__((format(printf, 4, 5))) void report_malformed(struct report *r, const char *path,
                                                            uint64_t line, const char *format, ...);
/* Say how many were not told, once their window is over (`now`: at once).  Call now and then. */
void report_rest(struct report *r, bool now);

int64_t monotonic_ms(void);

#endif
