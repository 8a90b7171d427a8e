#include "file.h"

#include "row.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, SCAN_BLOCK = 64 * 1024 };

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

struct csv_file *csv_file_new(const char *path, const struct stat *st)
{
    struct csv_file *f = calloc(1, sizeof(*f));
    if (!f) {
        return NULL;
    }
    f->fd = -1;
    f->path = strdup(path);
    if (!f->path) {
        free(f);
        return NULL;
    }
    f->name = last_part(f->path);
    f->dev = st->st_dev;
    f->ino = st->st_ino;
    f->first_mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    f->scanned = *st;
    f->dirty = true;
    return f;
}

static void forget_header(struct csv_file *f)
{
    free(f->header_text);
    free(f->columns);
    free(f->by_name);
    f->header_text = NULL;
    f->columns = NULL;
    f->by_name = NULL;
    f->n_columns = 0;
    f->header = HEADER_AWAITED;
}

void csv_file_free(struct csv_file *f)
{
    if (f) {
        csv_file_close(f);
        forget_header(f);
        positions_release(&f->positions);
        free(f->path);
        free(f);
    }
}

bool csv_file_rename(struct csv_file *f, const char *path)
{
    char *copy = strdup(path);
    if (!copy) {
        return false;
    }
    free(f->path);
    f->path = copy;
    f->name = last_part(copy);
    return true;
}

bool csv_file_open(struct csv_file *f, const char *path)
{
    if (f->fd >= 0) {
        return true;
    }
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) != 0 || st.st_dev != f->dev || st.st_ino != f->ino) {
        close(fd);
        errno = ENOENT;
        return false;
    }
    f->fd = fd;
    return true;
}

void csv_file_close(struct csv_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
    }
}

ssize_t read_at(int fd, void *bytes, size_t n, int64_t offset)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = pread(fd, (char *)bytes + have, n - have, (off_t)offset + (off_t)have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        have += (size_t)got;
    }
    return (ssize_t)have;
}

bool read_mark(int fd, int64_t offset, struct mark *ret)
{
    char bytes[MARK_MAX];
    size_t len = offset < MARK_MAX ? (size_t)offset : MARK_MAX;
    if (read_at(fd, bytes, len, offset - (int64_t)len) != (ssize_t)len) {
        return false;
    }
    *ret = (struct mark){(uint32_t)len, digest_bytes(bytes, len)};
    return true;
}

/* --- the header --- */

static bool mark_fits(int fd, const struct mark *mark, int64_t offset)
{
    char bytes[HEAD_MAX];
    return mark->len <= sizeof(bytes) &&
           read_at(fd, bytes, mark->len, offset - (int64_t)mark->len) == (ssize_t)mark->len &&
           digest_bytes(bytes, mark->len) == mark->digest;
}

static const char *bad_header(struct csv_file *f, char *message, size_t size, const char *problem)
{
    char bytes[HEAD_MAX];
    ssize_t n = read_at(f->fd, bytes, sizeof(bytes), 0);
    f->head.len = n > 0 ? (uint32_t)n : 0;
    f->head.digest = digest_bytes(bytes, f->head.len);
    f->header = HEADER_BAD;
    if (problem != message) {
        snprintf(message, size, "%s", problem);
    }
    return message;
}

/* The file's beginning up to the first byte behind its first row, NUL-terminated.  NULL: the row has no
 * end yet (*ret_problem NULL) or is bad. */
static char *read_first_row(const struct csv_file *f, char delimiter, struct row *row,
                            size_t *ret_bom, const char **ret_problem)
{
    char *text = NULL;
    *ret_problem = NULL;
    for (size_t room = SCAN_BLOCK; room <= ROW_MAX; room *= 4) {
        char *grown = realloc(text, room + 1);
        if (!grown) {
            *ret_problem = "out of memory";
            break;
        }
        text = grown;
        ssize_t n = read_at(f->fd, text, room, 0);
        if (n < 0) {
            *ret_problem = strerror(errno);
            break;
        }
        *ret_bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        switch (row_parse(row, delimiter, text + *ret_bom, text + n)) {
        case ROW_OK:
            return text;
        case ROW_BLANK:
            *ret_problem = "the first line is empty: it must name the columns";
            break;
        case ROW_BAD:
            *ret_problem = row->problem;
            break;
        case ROW_NO_MEMORY:
            *ret_problem = "out of memory";
            break;
        case ROW_INCOMPLETE:
            break;
        }
        if (*ret_problem || (size_t)n < room) {
            break;
        }
        if (room * 4 > ROW_MAX) {
            *ret_problem = "the first line is too long";
        }
    }
    free(text);
    return NULL;
}

static int by_column_name(const void *a, const void *b, void *ctx)
{
    const struct csv_file *f = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int order = strcmp(f->columns[x], f->columns[y]);
    return order ? order : x < y ? -1 : x > y;
}

/* Make the fields of the first row the columns.  They are terminated in place. */
static bool set_columns(struct csv_file *f, struct row *row)
{
    f->columns = calloc(row->n, sizeof(*f->columns));
    f->by_name = calloc(row->n, sizeof(*f->by_name));
    if (!f->columns || !f->by_name) {
        return false;
    }
    for (size_t i = 0; i < row->n; i++) {
        f->by_name[i] = i;
        struct field *field = &row->fields[i];
        field_unescape(field, field->text);
        while (field->len > 0 && field->text[0] == ' ') {
            field->text++;
            field->len--;
        }
        while (field->len > 0 && field->text[field->len - 1] == ' ') {
            field->len--;
        }
        f->columns[i] = field->text;
    }
    for (size_t i = 0; i < row->n; i++) {
        row->fields[i].text[row->fields[i].len] = '\0'; /* on a delimiter, quote or line end */
    }
    f->n_columns = row->n;
    qsort_r(f->by_name, row->n, sizeof(*f->by_name), by_column_name, f);
    return true;
}

const char *csv_file_read_header(struct csv_file *f, const struct csv_options *options,
                                 char *message, size_t size)
{
    if (f->header != HEADER_AWAITED) {
        return NULL;
    }
    struct row row = {0};
    size_t bom = 0;
    const char *problem = NULL;
    f->header_text = read_first_row(f, options->delimiter, &row, &bom, &problem);
    if (!f->header_text) {
        row_release(&row);
        return problem ? bad_header(f, message, size, problem) : NULL;
    }
    f->header_end = row.next - f->header_text;
    f->header_lines = row.lines;
    char *fitting = realloc(f->header_text, (size_t)f->header_end + 1);
    f->header_text = fitting ? fitting : f->header_text;
    row_parse(&row, options->delimiter, f->header_text + bom, f->header_text + f->header_end);
    f->head.len = f->header_end < HEAD_MAX ? (uint32_t)f->header_end : HEAD_MAX;
    f->head.digest = digest_bytes(f->header_text, f->head.len);
    bool columns = set_columns(f, &row);
    row_release(&row);
    if (!columns) {
        return bad_header(f, message, size, "out of memory");
    }
    if (!csv_file_column(f, options->timestamp_column, &f->timestamp_field)) {
        snprintf(message, size, "no column '%s' for the timestamp in its first line",
                 options->timestamp_column);
        return bad_header(f, message, size, message);
    }
    f->header = HEADER_READ;
    return NULL;
}

bool csv_file_column(const struct csv_file *f, const char *column, size_t *ret_field)
{
    size_t low = 0, high = f->n_columns; /* of several with this name the first counts */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(f->columns[f->by_name[middle]], column) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == f->n_columns || strcmp(f->columns[f->by_name[low]], column) != 0) {
        return false;
    }
    *ret_field = f->by_name[low];
    return true;
}

/* --- places --- */

bool csv_file_is_new(const struct csv_file *f)
{
    return f->header != HEADER_AWAITED && !mark_fits(f->fd, &f->head, f->head.len);
}

bool csv_file_restart(struct csv_file *f)
{
    struct cursor place = {.before_us = INT64_MIN};
    if (!positions_reset(&f->positions, &place)) {
        return false;
    }
    forget_header(f);
    f->n_adopted = 0;
    f->dirty = true;
    return true;
}

void csv_file_start(const struct csv_file *f, struct cursor *ret_place)
{
    size_t len = f->header_end < MARK_MAX ? (size_t)f->header_end : MARK_MAX;
    *ret_place = (struct cursor){.offset = f->header_end,
                                 .line = f->header_lines,
                                 .before_us = INT64_MIN,
                                 .mark = {(uint32_t)len, 0}};
    /* If the bytes have gone, the mark fits nothing and the file is found to begin anew. */
    read_mark(f->fd, f->header_end, &ret_place->mark);
}

bool csv_file_end(struct csv_file *f, struct cursor *ret_place)
{
    char *block = malloc(SCAN_BLOCK);
    int64_t offset = f->header_end, end = f->header_end;
    uint64_t lines = f->header_lines;
    ssize_t n = block ? 0 : -1;
    while (block && (n = read_at(f->fd, block, SCAN_BLOCK, offset)) > 0) {
        const char *at = block, *stop = block + n;
        while ((at = memchr(at, '\n', (size_t)(stop - at))) != NULL) {
            at++;
            lines++;
            end = offset + (at - block);
        }
        offset += n;
    }
    free(block);
    *ret_place = (struct cursor){.offset = end, .line = lines, .before_us = INT64_MIN};
    return n == 0 && read_mark(f->fd, end, &ret_place->mark);
}

bool csv_file_matches(const struct csv_file *f, const struct mark *head,
                      const struct positions *positions)
{
    const struct cursor *frontier = positions_frontier(positions);
    return mark_fits(f->fd, head, head->len) &&
           (!frontier || mark_fits(f->fd, &frontier->mark, frontier->offset));
}
