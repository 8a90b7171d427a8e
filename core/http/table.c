#include "http/table.h"

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "http/http.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLOCK = 64 << 10, ROW_MAX = 64 << 20 };

/* --- Accept --- */

/* Which of our formats a media range (lower or upper case, without parameters) covers. */
static bool match_range(const char *range, size_t len, enum table_format *ret)
{
    static const struct {
        const char *range;
        enum table_format format;
    } table[] = {
        {"text/csv", TABLE_CSV},
        {"text/*", TABLE_CSV},
        {"*/*", TABLE_CSV},
        {"*", TABLE_CSV},
        {"application/jsonlines", TABLE_JSON_LINES},
        {"application/x-jsonlines", TABLE_JSON_LINES},
        {"application/*", TABLE_JSON_LINES},
        {"application/x-ndjson", TABLE_NDJSON},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strlen(table[i].range) == len && strncasecmp(table[i].range, range, len) == 0) {
            *ret = table[i].format;
            return true;
        }
    }
    return false;
}

static double parameter_q(const char *parameters, const char *end)
{
    for (const char *p = parameters; p < end; p++) {
        if (*p != ';')
            continue;
        p += 1 + strspn(p + 1, " \t");
        if ((p[0] == 'q' || p[0] == 'Q') && p[1] == '=')
            return strtod(p + 2, NULL);
    }
    return 1.0;
}

bool table_negotiate(const char *accept, enum table_format *ret)
{
    if (!accept || !*accept) {
        *ret = TABLE_CSV;
        return true;
    }
    double best = 0.0;
    for (const char *p = accept; *p;) {
        p += strspn(p, " \t,");
        const char *end = p + strcspn(p, ",");
        size_t len = strcspn(p, " \t;,");
        double q = parameter_q(p + len, end);
        enum table_format format;
        if (len && q > best && match_range(p, len, &format)) {
            best = q;
            *ret = format;
        }
        p = end;
    }
    return best > 0.0;
}

/* --- writing --- */

int table_begin(struct table *t, struct http_request *r, enum table_format format)
{
    static const struct {
        const char *content_type, *suffix;
    } kinds[] = {
        [TABLE_CSV] = {"text/csv; charset=utf-8", ".csv"},
        [TABLE_JSON_LINES] = {"application/x-jsonlines", ".jsonl"},
        [TABLE_NDJSON] = {"application/x-ndjson", ".ndjson"},
    };
    *t = (struct table){.format = format, .day_us = INT64_MIN};
    buf_init(&t->rows, ROW_MAX);
    buf_init(&t->text, ROW_MAX);
    t->download = http_download_begin(r, kinds[format].content_type, kinds[format].suffix);
    return t->download ? 0 : ERR_CLOSED;
}

static void begin_cell(struct table *t)
{
    if (t->format == TABLE_CSV) {
        if (t->column)
            buf_append_char(&t->rows, ',');
    } else if (t->column) {
        buf_append_lit(&t->rows, ", ");
    } else {
        buf_append_char(&t->rows, '[');
    }
    t->column++;
}

/* RFC 4180: a field with a comma, quote or line break is quoted, quotes inside are doubled. */
static void put_csv_text(struct buf *b, const char *text, size_t len)
{
    bool quote = false;
    for (size_t i = 0; i < len && !quote; i++)
        quote = text[i] == ',' || text[i] == '"' || text[i] == '\r' || text[i] == '\n';
    if (!quote) {
        buf_append(b, text, len);
        return;
    }
    buf_append_char(b, '"');
    for (size_t i = 0; i < len;) {
        const char *q = memchr(text + i, '"', len - i);
        size_t n = q ? (size_t)(q - (text + i)) + 1 : len - i;
        buf_append(b, text + i, n);
        if (q)
            buf_append_char(b, '"');
        i += n;
    }
    buf_append_char(b, '"');
}

void table_text(struct table *t, const char *text, size_t len)
{
    begin_cell(t);
    if (t->format == TABLE_CSV)
        put_csv_text(&t->rows, text, len);
    else
        json_write_string(&t->rows, text, len);
}

void table_json(struct table *t, const char *json, size_t len)
{
    if (t->format != TABLE_CSV) {
        begin_cell(t);
        json_write_spaced(&t->rows, json, len, false);
        return;
    }
    buf_clear(&t->text);
    if (json_write_spaced(&t->text, json, len, false))
        t->rows.failed = true;
    else
        table_text(t, t->text.data, t->text.len);
}

void table_json_text(struct table *t, const char *json, size_t len)
{
    buf_clear(&t->text);
    if (json_write_spaced(&t->text, json, len, true))
        t->rows.failed = true;
    else
        table_text(t, t->text.data, t->text.len);
}

void table_null(struct table *t)
{
    begin_cell(t);
    if (t->format != TABLE_CSV)
        buf_append_lit(&t->rows, "null");
}

void table_nulls(struct table *t, size_t n)
{
    for (; n > 0 && (t->column == 0 || t->format != TABLE_CSV); n--)
        table_null(t);
    if (n == 0 || buf_reserve(&t->rows, n))
        return;
    memset(t->rows.data + t->rows.len, ',', n);
    t->rows.len += n;
    t->rows.data[t->rows.len] = '\0';
    t->column += n;
}

void table_time(struct table *t, int64_t time_us)
{
    const int64_t day_us = 86400 * TIME_US_PER_SECOND;
    char text[TIME_ISO_SIZE];
    size_t len;
    begin_cell(t);
    if (t->day_us == INT64_MIN || time_us < t->day_us || time_us - t->day_us >= day_us) {
        time_format_iso(time_us, text);
        memcpy(t->day, text, 11);
        t->day_us = time_us - ((time_us % day_us) + day_us) % day_us;
    }
    int rest = (int)((time_us - t->day_us) / TIME_US_PER_SECOND);
    int us = (int)((time_us - t->day_us) % TIME_US_PER_SECOND);
    const int parts[] = {rest / 3600, rest / 60 % 60, rest % 60};
    memcpy(text, t->day, 11);
    for (int i = 0; i < 3; i++) {
        text[11 + 3 * i] = (char)('0' + parts[i] / 10);
        text[12 + 3 * i] = (char)('0' + parts[i] % 10);
        text[13 + 3 * i] = ':';
    }
    len = 19;
    if (us) {
        text[19] = '.';
        for (int i = 25; i > 19; i--, us /= 10)
            text[i] = (char)('0' + us % 10);
        len = 26;
    }
    bool json = t->format != TABLE_CSV;
    if (json)
        buf_append_char(&t->rows, '"');
    buf_append(&t->rows, text, len);
    if (json)
        buf_append_char(&t->rows, '"');
}

void table_value(struct table *t, const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
        table_null(t);
        return;
    case VALUE_STRING:
        table_text(t, v->as.ptr, v->len);
        return;
    case VALUE_JSON:
        table_json(t, v->as.ptr, v->len);
        return;
    case VALUE_DOUBLE:
        if (!isfinite(v->as.f64)) {
            table_null(t);
            return;
        }
        begin_cell(t);
        if (buf_reserve(&t->rows, JSON_DOUBLE_SIZE) == 0) {
            t->rows.len += json_format_double(v->as.f64, t->rows.data + t->rows.len);
            t->rows.data[t->rows.len] = '\0';
        }
        return;
    case VALUE_BYTES:
        buf_clear(&t->text);
        value_write_json(&t->text, v); /* base64 between quotes */
        if (t->text.len >= 2)
            table_text(t, t->text.data + 1, t->text.len - 2);
        return;
    default:
        begin_cell(t);
        value_write_json(&t->rows, v);
    }
}

static int flush(struct table *t)
{
    if (t->rows.failed || http_download_write(t->download, t->rows.data, t->rows.len))
        t->failed = true;
    buf_clear(&t->rows);
    return t->failed ? ERR_CLOSED : 0;
}

int table_end_row(struct table *t)
{
    if (t->format == TABLE_CSV)
        buf_append_lit(&t->rows, "\r\n");
    else
        buf_append_lit(&t->rows, "]\n");
    t->column = 0;
    return t->rows.len >= BLOCK || t->rows.failed ? flush(t) : (t->failed ? ERR_CLOSED : 0);
}

void table_finish(struct table *t, bool complete)
{
    if (t->rows.len && !t->failed)
        flush(t);
    http_download_end(t->download, complete && !t->failed);
    buf_release(&t->rows);
    buf_release(&t->text);
}

void table_fail(struct table *t, const struct error *err)
{
    http_download_fail(t->download, err);
    buf_release(&t->rows);
    buf_release(&t->text);
}
