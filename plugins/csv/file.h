/* One file: who it is, its header, and how far it has been read.
 *
 * A file is known by device and inode, and by its bytes: a mark of its first ones and one before each
 * cursor.  That tells a rotated file from a new one of the same name, and a file written anew from one
 * that grew.  Owned by the reading thread. */
#ifndef HYPRXA_CSV_FILE_H
#define HYPRXA_CSV_FILE_H

#include "options.h"
#include "position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum header_state {
    HEADER_AWAITED, /* not written in full yet */
    HEADER_READ,
    HEADER_BAD, /* the file cannot be used until it begins anew */
};

struct csv_file {
    char *path;
    const char *name; /* its last part */
    dev_t dev;
    ino_t ino;
    int64_t first_mtime_ns; /* when it was found: files are read oldest first */
    struct stat scanned;    /* as the last scan saw it */
    int fd;                 /* -1: not open at present */
    bool loaded;            /* its saved positions have been looked up */
    bool told_away;         /* that it cannot be read has been logged */
    bool dirty;             /* there may be more behind the front cursor */
    bool rear_dry;          /* the rear cursor cannot move before there is more */
    bool seen;              /* by the scan under way */
    bool gone; /* renamed out of the source's paths or deleted; read to its end, then dropped */
    int64_t gone_until_ms; /* monotonic; dropped then, unless it grew */

    enum header_state header;
    char *header_text; /* columns point into it */
    char **columns;
    size_t *by_name; /* indexes of columns, ordered by name */
    size_t n_columns;
    size_t timestamp_field;
    int64_t header_end;
    uint64_t header_lines;
    struct mark head; /* of its first bytes, up to the end of the header and 4 KiB at most */

    struct positions positions;
    size_t n_adopted; /* of the reader's items, the first so many have been placed here */
};

/* NULL: out of memory.  Opens nothing. */
struct csv_file *csv_file_new(const char *path, const struct stat *st);
void csv_file_free(struct csv_file *f);
bool csv_file_rename(struct csv_file *f, const char *path); /* false: out of memory */

/* Open it as `path` (its own, or where it has been renamed to), if it is not open and if it is still the
 * same file.  False: errno. */
bool csv_file_open(struct csv_file *f, const char *path);
void csv_file_close(struct csv_file *f);

/* Read the header, if it is not read yet.  Returns NULL or, with HEADER_BAD, what is wrong: a text in
 * `message`. */
const char *csv_file_read_header(struct csv_file *f, const struct csv_options *options,
                                 char *message, size_t size);
/* The field of `column`; false: the file has none. */
bool csv_file_column(const struct csv_file *f, const char *column, size_t *ret_field);

/* Its first bytes are no longer those of the header that was read. */
bool csv_file_is_new(const struct csv_file *f);
/* Forget what was read of it: it begins anew.  Members go to its start.  False: out of memory. */
bool csv_file_restart(struct csv_file *f);

/* The places behind its header and behind its last complete line.  False: it cannot be read. */
void csv_file_start(const struct csv_file *f, struct cursor *ret_place);
bool csv_file_end(struct csv_file *f, struct cursor *ret_place);

/* The positions were taken in a file with these bytes. */
bool csv_file_matches(const struct csv_file *f, const struct mark *head,
                      const struct positions *positions);

/* Read up to `n` bytes at `offset`; less only at the end of the file.  -1: errno. */
ssize_t read_at(int fd, void *bytes, size_t n, int64_t offset);
/* The mark of the bytes before `offset`.  False: they are not there. */
bool read_mark(int fd, int64_t offset, struct mark *ret);

#endif
