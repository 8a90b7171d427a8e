#include "position.h"

#include <stdlib.h>
#include <string.h>

uint64_t digest_bytes(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t digest = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ p[i]) * UINT64_C(1099511628211);
    }
    return digest;
}

static void cursor_release(struct cursor *c)
{
    free(c->members);
    free(c->targets);
}

void positions_release(struct positions *p)
{
    for (size_t i = 0; i < p->n; i++) {
        cursor_release(&p->cursors[i]);
    }
    free(p->cursors);
    *p = (struct positions){0};
}

static bool reserve_members(struct cursor *c, size_t more)
{
    if (c->n_members + more <= c->room) {
        return true;
    }
    size_t room = c->room ? c->room : 8;
    while (room < c->n_members + more) {
        room *= 2;
    }
    struct member *grown = realloc(c->members, room * sizeof(*grown));
    if (!grown) {
        return false;
    }
    c->members = grown;
    c->room = room;
    return true;
}

/* Room must be there. */
static void add_member(struct cursor *c, const struct member *m)
{
    c->members[c->n_members++] = *m;
    c->n_active += m->item ? 1 : 0;
    c->has_targets = false;
}

/* An empty cursor at index `at`, where `place` is. */
static struct cursor *insert_cursor(struct positions *p, size_t at, const struct cursor *place)
{
    if (p->n == p->room) {
        size_t room = p->room ? p->room * 2 : 4;
        struct cursor *grown = realloc(p->cursors, room * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        p->cursors = grown;
        p->room = room;
    }
    struct cursor *c = &p->cursors[at];
    memmove(c + 1, c, (p->n - at) * sizeof(*c));
    p->n++;
    *c = (struct cursor){.offset = place->offset,
                         .line = place->line,
                         .before_us = place->before_us,
                         .mark = place->mark,
                         .skipping = place->skipping};
    return c;
}

static void remove_cursor(struct positions *p, size_t at)
{
    cursor_release(&p->cursors[at]);
    p->n--;
    memmove(&p->cursors[at], &p->cursors[at + 1], (p->n - at) * sizeof(p->cursors[0]));
}

struct cursor *positions_find(struct positions *p, uint64_t key, struct member **ret_member)
{
    for (size_t i = 0; i < p->n; i++) {
        struct cursor *c = &p->cursors[i];
        for (size_t k = 0; k < c->n_members; k++) {
            if (c->members[k].key == key) {
                *ret_member = &c->members[k];
                return c;
            }
        }
    }
    return NULL;
}

bool positions_place(struct positions *p, const struct cursor *place, uint64_t key,
                     struct item *item)
{
    size_t at = 0;
    while (at < p->n && p->cursors[at].offset < place->offset) {
        at++;
    }
    struct cursor copy = *place; /* inserting may move what `place` points to */
    if (at == p->n || p->cursors[at].offset != copy.offset) {
        if (!insert_cursor(p, at, &copy)) {
            return false;
        }
    }
    if (!reserve_members(&p->cursors[at], 1)) {
        if (p->cursors[at].n_members == 0) {
            remove_cursor(p, at);
        }
        return false;
    }
    add_member(&p->cursors[at], &(struct member){key, item});
    return true;
}

void positions_leave(struct positions *p, const struct item *item)
{
    struct member *m;
    struct cursor *c = positions_find(p, item->key, &m);
    if (c && m->item == item) {
        m->item = NULL;
        c->n_active--;
        c->has_targets = false;
    }
}

bool positions_join(struct positions *p, struct item *item)
{
    struct member *m;
    struct cursor *c = positions_find(p, item->key, &m);
    if (!c) {
        return false;
    }
    if (!m->item) {
        m->item = item;
        c->n_active++;
        c->has_targets = false;
    }
    return true;
}

struct cursor *positions_front(struct positions *p)
{
    for (size_t i = p->n; i > 0; i--) {
        if (p->cursors[i - 1].n_active > 0) {
            return &p->cursors[i - 1];
        }
    }
    return NULL;
}

struct cursor *positions_rear(struct positions *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->cursors[i].n_active > 0) {
            return &p->cursors[i];
        }
    }
    return NULL;
}

int64_t positions_limit(const struct positions *p, const struct cursor *c)
{
    for (const struct cursor *next = c + 1; next < p->cursors + p->n; next++) {
        if (next->n_active > 0) {
            return next->offset;
        }
    }
    return INT64_MAX;
}

struct cursor *positions_part(struct positions *p, struct cursor *c)
{
    if (c->n_active == c->n_members) {
        return c;
    }
    size_t at = (size_t)(c - p->cursors);
    struct cursor place = *c;
    struct cursor *stay = insert_cursor(p, at, &place);
    if (!stay || !reserve_members(stay, place.n_members - place.n_active)) {
        if (stay) {
            remove_cursor(p, at);
        }
        return NULL;
    }
    c = stay + 1;
    size_t kept = 0;
    for (size_t i = 0; i < c->n_members; i++) {
        if (c->members[i].item) {
            c->members[kept++] = c->members[i];
        } else {
            add_member(stay, &c->members[i]);
        }
    }
    c->n_members = kept;
    return c;
}

/* Move members from cursor `from` to `to`: all, or the active ones.  Room must be there. */
static void take_members(struct cursor *to, struct cursor *from, bool all)
{
    size_t kept = 0;
    for (size_t i = 0; i < from->n_members; i++) {
        if (all || from->members[i].item) {
            add_member(to, &from->members[i]);
        } else {
            from->members[kept++] = from->members[i];
        }
    }
    from->n_members = kept;
    from->n_active = 0;
    from->has_targets = false;
}

bool positions_moved(struct positions *p, struct cursor *c)
{
    struct cursor moved = *c;
    size_t at = (size_t)(c - p->cursors), reached = at + 1, more = 0;
    while (reached < p->n && p->cursors[reached].offset <= moved.offset) {
        more += p->cursors[reached++].n_members;
    }
    if (!reserve_members(&moved, more)) {
        return false;
    }
    for (size_t i = at + 1; i < reached; i++) {
        take_members(&moved, &p->cursors[i], p->cursors[i].offset == moved.offset);
    }
    memmove(&p->cursors[at], &p->cursors[at + 1], (reached - at - 1) * sizeof(moved));
    p->cursors[reached - 1] = moved;
    for (size_t i = reached - 1; i > at; i--) {
        if (p->cursors[i - 1].n_members == 0) {
            remove_cursor(p, i - 1);
        }
    }
    return true;
}

bool positions_reset(struct positions *p, const struct cursor *place)
{
    size_t total = 0;
    for (size_t i = 0; i < p->n; i++) {
        total += p->cursors[i].n_members;
    }
    if (total == 0) {
        return true;
    }
    struct positions fresh = {0};
    struct cursor *c = insert_cursor(&fresh, 0, place);
    if (!c || !reserve_members(c, total)) {
        positions_release(&fresh);
        return false;
    }
    for (size_t i = 0; i < p->n; i++) {
        take_members(c, &p->cursors[i], true);
    }
    positions_release(p);
    *p = fresh;
    return true;
}

const struct cursor *positions_frontier(const struct positions *p)
{
    return p->n ? &p->cursors[p->n - 1] : NULL;
}

/* --- as bytes --- */

/* Layout: magic, then as 64-bit little-endian numbers: the head's length and digest, the number of
 * cursors, and for each: offset, line, before_us, mark's length and digest, number of keys, keys. */
static const char magic[8] = {'c', 's', 'v', 'p', 'o', 's', '1', '\n'};
enum { HEAD_WORDS = 3, CURSOR_WORDS = 6 };

static unsigned char *put(unsigned char *p, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        *p++ = (unsigned char)(value >> (8 * i));
    }
    return p;
}

static uint64_t get(const unsigned char **p)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t) * (*p)++ << (8 * i);
    }
    return value;
}

bool positions_encode(const struct positions *p, const struct mark *head, void **ret,
                      size_t *ret_len)
{
    size_t words = HEAD_WORDS;
    for (size_t i = 0; i < p->n; i++) {
        words += CURSOR_WORDS + p->cursors[i].n_members;
    }
    unsigned char *bytes = malloc(sizeof(magic) + words * 8);
    if (!bytes) {
        return false;
    }
    memcpy(bytes, magic, sizeof(magic));
    unsigned char *at = put(put(put(bytes + sizeof(magic), head->len), head->digest), p->n);
    for (size_t i = 0; i < p->n; i++) {
        const struct cursor *c = &p->cursors[i];
        at = put(put(put(at, (uint64_t)c->offset), c->line), (uint64_t)c->before_us);
        at = put(put(put(at, c->mark.len), c->mark.digest), c->n_members);
        for (size_t k = 0; k < c->n_members; k++) {
            at = put(at, c->members[k].key);
        }
    }
    *ret = bytes;
    *ret_len = (size_t)(at - bytes);
    return true;
}

static bool decode_cursor(const unsigned char **at, const unsigned char *end, struct positions *p)
{
    if (end - *at < CURSOR_WORDS * 8) {
        return false;
    }
    struct cursor place = {0};
    place.offset = (int64_t)get(at);
    place.line = get(at);
    place.before_us = (int64_t)get(at);
    place.mark.len = (uint32_t)get(at);
    place.mark.digest = get(at);
    uint64_t n = get(at);
    if (place.offset < 0 || place.mark.len > MARK_MAX || place.mark.len > place.offset ||
        n > (uint64_t)(end - *at) / 8) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (!positions_place(p, &place, get(at), NULL)) {
            return false;
        }
    }
    return true;
}

bool positions_decode(const void *bytes, size_t len, struct mark *ret_head, struct positions *ret)
{
    const unsigned char *at = bytes, *end = at + len;
    *ret = (struct positions){0};
    if (len < sizeof(magic) + HEAD_WORDS * 8 || memcmp(at, magic, sizeof(magic)) != 0) {
        return false;
    }
    at += sizeof(magic);
    ret_head->len = (uint32_t)get(&at);
    ret_head->digest = get(&at);
    for (uint64_t n = get(&at); n > 0; n--) {
        if (!decode_cursor(&at, end, ret)) {
            positions_release(ret);
            return false;
        }
    }
    if (at != end) {
        positions_release(ret);
        return false;
    }
    return true;
}
