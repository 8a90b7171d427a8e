/* How far a file has been read, and for whom.
 *
 * A cursor is a place in a file, always the start of a row, and the members who have had everything
 * before it.  Subscriptions that advance together share a cursor; one that came later has its own
 * until it has caught up, and one that nobody holds now keeps its place.  Owned by the reading thread. */
#ifndef HYPRXA_CSV_POSITION_H
#define HYPRXA_CSV_POSITION_H

#include "item.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MARK_MAX = 64 }; /* bytes that a mark covers */

/* A digest of the bytes just before a place: tells whether they still are what was read. */
struct mark {
    uint32_t len;
    uint64_t digest;
};
uint64_t digest_bytes(const void *bytes, size_t len);

struct member {
    uint64_t key;
    struct item *item; /* NULL: not subscribed at present */
};

struct target {
    size_t field;
    struct item *item;
};

struct cursor {
    int64_t offset;
    uint64_t line;     /* lines before the offset */
    int64_t before_us; /* time of the last row before it; INT64_MIN: none */
    struct mark mark;  /* of the bytes before it */
    bool skipping;     /* inside a row that is too long */
    struct member *members;
    size_t n_members, room;
    size_t n_active;        /* members with an item */
    struct target *targets; /* of the active ones, ordered by field; made by the pump */
    size_t n_targets;
    bool has_targets; /* they fit the members */
};

/* Ordered by offset. */
struct positions {
    struct cursor *cursors;
    size_t n, room;
};

void positions_release(struct positions *p);

/* The cursor that holds `key`, or NULL; its member in *ret_member. */
struct cursor *positions_find(struct positions *p, uint64_t key, struct member **ret_member);

/* Put a new member where `place` is (its offset, line, before_us and mark count).  False: no memory. */
bool positions_place(struct positions *p, const struct cursor *place, uint64_t key,
                     struct item *item);

/* The member of `item` stays where it is, without it. */
void positions_leave(struct positions *p, const struct item *item);
/* Give the member of item->key its item; false: it has no place here. */
bool positions_join(struct positions *p, struct item *item);

/* The active cursor read first: the one furthest ahead; and the one furthest behind.  NULL: none. */
struct cursor *positions_front(struct positions *p);
struct cursor *positions_rear(struct positions *p);
/* Where `c` meets the next active cursor; INT64_MAX: nowhere. */
int64_t positions_limit(const struct positions *p, const struct cursor *c);

/* Part inactive members from `c` before it moves.  Returns `c` at its new address; NULL: no memory. */
struct cursor *positions_part(struct positions *p, struct cursor *c);
/* After `c` has moved: take in active cursors that it has reached, and restore the order.  `c` and
 * other pointers to cursors are void then.  False: out of memory, nothing was taken in. */
bool positions_moved(struct positions *p, struct cursor *c);

/* All members to `place`, for a file that begins anew.  False: out of memory. */
bool positions_reset(struct positions *p, const struct cursor *place);

/* The furthest place anybody has reached, active or not; NULL: none. */
const struct cursor *positions_frontier(const struct positions *p);

/* Write as bytes, for state_set(): *ret is malloc'ed.  `head` marks the file's first bytes. */
bool positions_encode(const struct positions *p, const struct mark *head, void **ret,
                      size_t *ret_len);
/* Read them back; every member is inactive.  False: damaged or out of memory, and `ret` is empty. */
bool positions_decode(const void *bytes, size_t len, struct mark *ret_head, struct positions *ret);

#endif
