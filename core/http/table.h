/* A table as a download: CSV (RFC 4180) or JSON Lines with one array a row, written cell by cell.
 *
 *     struct table t;
 *     if (table_begin(&t, r, format)) return;      answered
 *     table_text(&t, "timestamp", 9); table_end_row(&t); ...
 *     table_finish(&t, true);
 *
 * Rows are gathered and written in blocks; memory does not grow with the number of rows.  Used by
 * one thread.  [worker] */
#ifndef HYPRXA_HTTP_TABLE_H
#define HYPRXA_HTTP_TABLE_H

#include "base/buf.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_download;
struct http_request;

enum table_format { TABLE_CSV, TABLE_JSON_LINES, TABLE_NDJSON };

/* The format the `Accept` header asks for (contract section 4: descending q, then header order;
 * absent, empty or a wildcard: CSV).  False: none of ours is acceptable, answer 415. */
bool table_negotiate(const char *accept, enum table_format *ret);

struct table {
    struct http_download *download;
    enum table_format format;
    struct buf rows; /* not yet written */
    struct buf text; /* of one cell, on its way */
    size_t column;   /* of the row being written */
    bool failed;     /* the client is gone */
    int64_t day_us;  /* start of the day whose text is cached ... */
    char day[16];    /* ... as "YYYY-MM-DDT" */
};

/* ERR_CLOSED: answered (too many downloads), nothing to finish.  The head goes out with the first
 * block of rows. */
int table_begin(struct table *t, struct http_request *r, enum table_format format);

/* --- cells, left to right --- */
void table_text(struct table *t, const char *text, size_t len);
/* A container, from compact JSON text: as JSON text with blanks after ',' and ':'. */
void table_json(struct table *t, const char *json, size_t len);
/* The same as a JSON string of ASCII, in every format. */
void table_json_text(struct table *t, const char *json, size_t len);
void table_null(struct table *t);
void table_nulls(struct table *t, size_t n);
void table_time(struct table *t, int64_t time_us);
void table_value(struct table *t, const struct value *v);

/* ERR_CLOSED: the client is gone or too slow: finish and give up. */
int table_end_row(struct table *t);
/* complete == false: something failed half-way; the body ends without its final chunk. */
void table_finish(struct table *t, bool complete);
/* Instead: the error is the answer if nothing went out yet, else the body ends without its final
 * chunk. */
void table_fail(struct table *t, const struct error *err);

#endif
