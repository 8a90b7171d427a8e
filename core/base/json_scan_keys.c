#include "base/json_scan_keys.h"

#include "base/error.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

void scan_keys_init(struct scan_keys *k)
{
    k->items = k->few;
    k->n = 0;
    k->cap = SCAN_KEYS_INLINE;
    buf_init(&k->unescaped, SIZE_MAX / 2);
}

void scan_keys_release(struct scan_keys *k)
{
    if (k->items != k->few)
        free(k->items);
    buf_release(&k->unescaped);
}

const char *scan_key_text(const struct scan_keys *k, const struct scan_key *key)
{
    return key->offset == SIZE_MAX ? (const char *)key->source : k->unescaped.data + key->offset;
}

static int grow(struct scan_keys *k)
{
    size_t cap = k->cap * 2;
    bool is_inline = k->items == k->few;
    struct scan_key *items = realloc(is_inline ? NULL : k->items, cap * sizeof *items);
    if (!items)
        return ERR_NOMEM;
    if (is_inline)
        memcpy(items, k->few, k->n * sizeof *items);
    k->items = items;
    k->cap = cap;
    return 0;
}

/* --- unescaping (the text is known to be well formed) --- */

static unsigned hex4(const unsigned char *p)
{
    unsigned code = 0;
    for (int i = 0; i < 4; i++)
        code = code << 4 | (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return code;
}

static size_t encode_utf8(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(lead[n] | code);
    return n;
}

/* Passes the escape at p (a backslash); returns how many bytes it stands for. */
static size_t unescape_one(const unsigned char **p, char out[4])
{
    static const char letters[] = "b\bf\fn\nr\rt\t";
    const unsigned char c = (*p)[1];
    if (c != 'u') {
        const char *found = strchr(letters, c);
        out[0] = found ? found[1] : (char)c;
        *p += 2;
        return 1;
    }
    uint32_t code = hex4(*p + 2);
    *p += 6;
    if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex4(*p + 2) - 0xDC00);
        *p += 6;
    }
    return encode_utf8(code, out);
}

static int unescape(struct buf *b, const unsigned char *p, size_t len)
{
    const unsigned char *end = p + len;
    while (p < end) {
        const unsigned char *stop = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((stop ? stop : end) - p);
        if (plain && buf_append(b, p, plain))
            return ERR_NOMEM;
        p += plain;
        if (p < end) {
            char bytes[4];
            size_t n = unescape_one(&p, bytes);
            if (buf_append(b, bytes, n))
                return ERR_NOMEM;
        }
    }
    return 0;
}

/* --- comparing --- */

/* A few bytes of either end: different names mostly differ in it. */
static inline uint64_t fingerprint(const char *text, size_t len)
{
    uint64_t word = 0, tail = 0;
    if (len >= 8) {
        memcpy(&word, text, 8);
        memcpy(&tail, text + len - 8, 8);
        return word ^ (tail << 1 | tail >> 63);
    }
    if (len >= 4) {
        memcpy(&word, text, 4);
        memcpy(&tail, text + len - 4, 4);
        return word | tail << 32;
    }
    if (len) {
        memcpy(&word, text, 1);
        memcpy(&tail, text + len / 2, 1);
        word |= tail << 8 | (uint64_t)(unsigned char)text[len - 1] << 16;
    }
    return word;
}

static bool is_same(const struct scan_keys *k, const struct scan_key *a, const struct scan_key *b)
{
    return a->print == b->print && a->len == b->len &&
           memcmp(scan_key_text(k, a), scan_key_text(k, b), a->len) == 0;
}

int scan_keys_add(struct scan_keys *k, size_t first, const unsigned char *source, size_t len,
                  bool escaped)
{
    if (k->n == k->cap && grow(k))
        return ERR_NOMEM;
    struct scan_key *key = &k->items[k->n];
    key->source = source;
    key->len = len;
    key->offset = SIZE_MAX;
    if (escaped) {
        size_t offset = k->unescaped.len;
        if (unescape(&k->unescaped, source, len))
            return ERR_NOMEM;
        key->offset = offset;
        key->len = k->unescaped.len - offset;
    }
    key->print = fingerprint(scan_key_text(k, key), key->len);
    k->n++;
    if (k->n - first <= SCAN_KEYS_COMPARED)
        for (size_t i = first; i < k->n - 1; i++)
            if (is_same(k, &k->items[i], key))
                return ERR_EXISTS;
    return 0;
}

static int compare_hash(const void *a, const void *b)
{
    const struct scan_key *x = a, *y = b;
    if (x->print != y->print)
        return x->print < y->print ? -1 : 1;
    return x->source < y->source ? -1 : 1; /* earlier ones first */
}

int scan_keys_close(struct scan_keys *k, size_t first, const unsigned char **ret_duplicate)
{
    const size_t n = k->n - first;
    const unsigned char *duplicate = NULL;
    if (n > SCAN_KEYS_COMPARED) {
        struct scan_key *items = k->items + first;
        for (size_t i = 0; i < n; i++)
            items[i].print = map_hash(scan_key_text(k, &items[i]), items[i].len);
        qsort(items, n, sizeof *items, compare_hash);
        for (size_t i = 1; i < n; i++)
            if (is_same(k, &items[i - 1], &items[i]) && (!duplicate || items[i].source < duplicate))
                duplicate = items[i].source;
    }
    /* Names of this object were unescaped after those of the objects around it. */
    size_t kept = k->unescaped.len;
    for (size_t i = first; i < k->n; i++)
        if (k->items[i].offset < kept)
            kept = k->items[i].offset;
    k->unescaped.len = kept;
    k->n = first;
    *ret_duplicate = duplicate;
    return duplicate ? ERR_EXISTS : 0;
}
