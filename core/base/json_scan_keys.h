/* The member names of the objects that json_scan() has open, to find duplicates.
 *
 * A few names of one object are compared with each other as they come; beyond that they are sorted
 * by a keyed hash when the object ends, so that no choice of names costs more than n log n.  Names
 * are borrowed from the scanned text; those with escapes are kept unescaped in `unescaped`. */
#ifndef HYPRXA_BASE_JSON_SCAN_KEYS_H
#define HYPRXA_BASE_JSON_SCAN_KEYS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCAN_KEYS_INLINE = 24, SCAN_KEYS_COMPARED = 16 };

struct scan_key {
    const unsigned char *source; /* in the scanned text, after the quote */
    uint64_t print;              /* the first eight bytes, mixed with the length; later the hash */
    size_t len;                  /* unescaped */
    size_t offset;               /* in `unescaped`, or SIZE_MAX: the source is the name */
};

struct scan_keys {
    struct scan_key *items;
    size_t n, cap;
    struct buf unescaped;
    struct scan_key few[SCAN_KEYS_INLINE];
};

void scan_keys_init(struct scan_keys *k);
void scan_keys_release(struct scan_keys *k);

/* Add a name of the object whose names begin at index `first`; `len` bytes of well-formed string
 * body.  ERR_EXISTS: it is there already (as far as names are compared at once).  ERR_NOMEM. */
int scan_keys_add(struct scan_keys *k, size_t first, const unsigned char *source, size_t len,
                  bool escaped);
/* The object ends: its names are forgotten.  ERR_EXISTS: *ret_duplicate is the first repetition. */
int scan_keys_close(struct scan_keys *k, size_t first, const unsigned char **ret_duplicate);

const char *scan_key_text(const struct scan_keys *k, const struct scan_key *key);

#endif
