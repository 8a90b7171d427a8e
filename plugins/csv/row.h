/* Rows of a CSV file (RFC 4180): splits a stretch of bytes into fields, without copying.
 *
 * Lines end with LF or CRLF; a field in double quotes may hold delimiters, line ends and doubled
 * quotes.  A quote inside an unquoted field is an ordinary character. */
#ifndef HYPRXA_CSV_ROW_H
#define HYPRXA_CSV_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FIELD_MAX = 64 * 1024,      /* bytes of a field; a longer one is not taken */
    ROW_MAX = 16 * 1024 * 1024, /* bytes of a row */
    FIELDS_MAX = 100 * 1000,    /* fields of a row */
};

struct field {
    char *text; /* into the bytes parsed */
    uint32_t len;
    bool escaped; /* holds doubled quotes still: use field_unescape() */
};

struct row {
    struct field *fields; /* grown by row_parse(), released by row_release() */
    size_t n, room;
    char *next;           /* where the following row starts */
    uint32_t lines;       /* line ends passed */
    const char *problem;  /* of ROW_BAD, a constant text */
    size_t problem_field; /* the field it is about, counted from 1 */
};

enum row_verdict {
    ROW_OK,
    ROW_BLANK,      /* an empty line */
    ROW_INCOMPLETE, /* its end is not there yet; parse again when more bytes are */
    ROW_BAD, /* `problem`; `next` is behind the first line end, or NULL when that is missing */
    ROW_NO_MEMORY,
};

/* Parse the row that starts at `at`.  The bytes are not changed. */
enum row_verdict row_parse(struct row *row, char delimiter, char *at, char *end);
void row_release(struct row *row);

/* Undouble the quotes of a field of a row that was ROW_OK.  If it has any, its text is then at `to`, which
 * has room for field->len bytes and may be field->text itself. */
void field_unescape(struct field *field, char *to);

#endif
