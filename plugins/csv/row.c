#include "row.h"

#include <stdlib.h>
#include <string.h>

static struct field *add_field(struct row *row)
{
    if (row->n == row->room) {
        size_t room = row->room ? row->room * 2 : 64;
        struct field *grown = realloc(row->fields, room * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        row->fields = grown;
        row->room = room;
    }
    return &row->fields[row->n++];
}

/* The end of the quoted field whose text starts at `at`: the closing quote.  NULL: not there. */
static char *closing_quote(char *at, char *end, uint32_t *lines, bool *ret_escaped)
{
    *ret_escaped = false;
    for (char *p = at; p < end; p++) {
        if (*p == '\n') {
            ++*lines;
        } else if (*p == '"') {
            if (p + 1 == end) {
                return NULL; /* closing or the first of a pair: the next byte tells */
            }
            if (p[1] != '"') {
                return p;
            }
            *ret_escaped = true;
            p++;
        }
    }
    return NULL;
}

/* Give a bad row up to its first line end, so that a stray quote costs a line and not the file. */
static enum row_verdict bad_row(struct row *row, char *start, char *end, const char *problem)
{
    char *line_end = memchr(start, '\n', (size_t)(end - start));
    row->next = line_end ? line_end + 1 : NULL;
    row->lines = 1;
    row->problem = problem;
    row->problem_field = row->n;
    return ROW_BAD;
}

/* The row continues behind `p` (false), or ends there (true, with `next` set). */
static bool ends_row(struct row *row, char *p)
{
    if (*p != '\n') {
        return false;
    }
    row->next = p + 1;
    row->lines++;
    return true;
}

enum row_verdict row_parse(struct row *row, char delimiter, char *at, char *end)
{
    char *p = at;
    row->n = 0;
    row->lines = 0;
    if (p < end && ends_row(row, p)) {
        return ROW_BLANK;
    }
    if (p + 1 < end && *p == '\r' && ends_row(row, p + 1)) {
        return ROW_BLANK;
    }
    while (p < end) {
        struct field *f = add_field(row);
        if (!f) {
            return ROW_NO_MEMORY;
        }
        if (row->n > FIELDS_MAX) {
            return bad_row(row, at, end, "too many fields");
        }
        f->escaped = false;
        if (*p == '"') {
            char *text = p + 1;
            char *close = closing_quote(text, end, &row->lines, &f->escaped);
            if ((close ? close : end) - text > FIELD_MAX) {
                return bad_row(row, at, end, "a quoted field of more than 64 KiB");
            }
            if (!close) {
                return ROW_INCOMPLETE;
            }
            f->text = text;
            f->len = (uint32_t)(close - text);
            p = close + 1;
            if (*p == '\r') {
                if (p + 1 == end) {
                    return ROW_INCOMPLETE;
                }
                p += p[1] == '\n' ? 1 : 0;
            }
            if (*p != delimiter && *p != '\n') {
                return bad_row(row, at, end, "text after a closing quote");
            }
        } else {
            char *text = p;
            while (p < end && *p != delimiter && *p != '\n') {
                p++;
            }
            if (p == end) {
                return ROW_INCOMPLETE;
            }
            f->text = text;
            size_t len = (size_t)(p - text);
            if (*p == '\n' && len > 0 && text[len - 1] == '\r') {
                len--;
            }
            f->len = len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
        }
        if (ends_row(row, p)) {
            return ROW_OK;
        }
        p++; /* the delimiter */
        if (p == end) {
            return ROW_INCOMPLETE;
        }
    }
    return ROW_INCOMPLETE;
}

void row_release(struct row *row)
{
    free(row->fields);
    *row = (struct row){0};
}

void field_unescape(struct field *field, char *to)
{
    if (!field->escaped) {
        return;
    }
    const char *end = field->text + field->len;
    char *begin = to;
    for (const char *from = field->text; from < end; from++) {
        *to++ = *from;
        if (*from == '"') {
            from++; /* the second of a pair */
        }
    }
    field->text = begin;
    field->len = (uint32_t)(to - begin);
    field->escaped = false;
}
