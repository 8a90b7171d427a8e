/* The replay index in a file, from an orderly stop to the next start.
 *
 * head, slots (a fixed part, then the identity), entries; the head holds a checksum of all that
 * follows it.  In this machine's byte order: the file never leaves its data directory. */
#include "base/buf.h"
#include "timeseries/replay_index_priv.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDENTITY_MAX = 1 << 20 };

static const char magic[16] = "hyprxa replay 1";

struct file_head {
    char magic[16];
    uint64_t checksum;
    uint64_t origin, epoch; /* of who saved it */
    uint64_t floor, floor_epoch, last;
    uint64_t n_slots, n_entries;
};

struct file_slot {
    int64_t last_us;
    uint64_t identity_len;
};

/* FNV-1a, by words: what it must tell are cut and flipped bytes, not attackers. */
static uint64_t checksum(uint64_t sum, const void *bytes, size_t len)
{
    const char *at = bytes;
    for (; len >= sizeof(uint64_t); at += sizeof(uint64_t), len -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        sum = (sum ^ word) * UINT64_C(1099511628211);
        sum ^= sum >> 32;
    }
    for (; len > 0; at++, len--)
        sum = (sum ^ (unsigned char)*at) * UINT64_C(1099511628211);
    return sum;
}

/* --- saving --- */

struct out {
    FILE *file;
    uint64_t sum;
    bool failed;
};

static void put(struct out *out, const void *bytes, size_t len)
{
    out->sum = checksum(out->sum, bytes, len);
    out->failed |= len > 0 && fwrite(bytes, len, 1, out->file) != 1;
}

/* Zeros that make `len` a multiple of a word, which the checksum wants of every part. */
static size_t padding(uint64_t len)
{
    return (size_t)(-len % sizeof(uint64_t));
}

static void put_slots(struct replay_index *ix, struct out *out)
{
    static const char zeros[sizeof(uint64_t)];
    struct buf part = BUF_INIT(SIZE_MAX / 2);
    const struct map *map = &ix->by_identity;
    for (struct map_entry *e = map_next(map, NULL); e; e = map_next(map, e)) {
        struct file_slot fixed = {ix->slots[(uintptr_t)e->value - 1].last_us, e->key_len};
        buf_append(&part, &fixed, sizeof fixed);
        buf_append(&part, e->key, e->key_len);
        buf_append(&part, zeros, padding(e->key_len));
    }
    out->failed |= part.failed;
    put(out, part.data, part.len);
    buf_release(&part);
}

static void put_all(struct replay_index *ix, struct out *out)
{
    struct file_head head = {.origin = ix->options.origin,
                             .epoch = ix->options.epoch,
                             .floor = ix->floor,
                             .floor_epoch = ix->floor_epoch,
                             .last = ix->last,
                             .n_slots = ix->n_slots,
                             .n_entries = ix->head - ix->base};
    memcpy(head.magic, magic, sizeof magic);
    out->failed |= fwrite(&head, sizeof head, 1, out->file) != 1;
    put_slots(ix, out);
    for (uint64_t p = ix->base; p < ix->head;) {
        uint64_t left = ix->head - p;
        size_t n = left < REPLAY_BLOCK ? (size_t)left : REPLAY_BLOCK;
        put(out, replay_entry_at(ix, p), n * sizeof(struct replay_entry));
        p += n;
    }
    head.checksum =
        checksum(out->sum, &head.origin, sizeof head - offsetof(struct file_head, origin));
    out->failed |= fseek(out->file, 0, SEEK_SET) || fwrite(&head, sizeof head, 1, out->file) != 1;
}

int replay_index_save(struct replay_index *ix, const char *path, struct error *err)
{
    struct out out = {.file = fopen(path, "we")};
    if (!out.file)
        return error_set_errno(err, errno, "cannot write '%s'", path);
    pthread_mutex_lock(&ix->lock);
    put_all(ix, &out);
    pthread_mutex_unlock(&ix->lock);
    out.failed |= fflush(out.file) || fsync(fileno(out.file));
    int saved = errno;
    out.failed |= fclose(out.file) != 0;
    if (!out.failed)
        return 0;
    unlink(path);
    return error_set_errno(err, saved, "cannot write '%s'", path);
}

/* --- loading --- */

/* Bytes yet to be taken. */
struct in {
    const char *at;
    size_t left;
};

static bool take(struct in *in, void *ret, size_t len)
{
    if (in->left < len)
        return false;
    memcpy(ret, in->at, len);
    in->at += len;
    in->left -= len;
    return true;
}

static int take_slots(struct replay_index *ix, struct in *in, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct file_slot fixed;
        uint32_t slot;
        if (!take(in, &fixed, sizeof fixed) || fixed.identity_len > IDENTITY_MAX ||
            fixed.identity_len + padding(fixed.identity_len) > in->left)
            return ERR_CORRUPT;
        if (replay_slot_of(ix, in->at, fixed.identity_len, &slot))
            return ERR_NOMEM;
        if (slot != i)
            return ERR_CORRUPT;
        ix->slots[slot].last_us = fixed.last_us;
        in->at += fixed.identity_len + padding(fixed.identity_len);
        in->left -= fixed.identity_len + padding(fixed.identity_len);
    }
    return 0;
}

static int take_entries(struct replay_index *ix, struct in *in, const struct file_head *head)
{
    uint64_t last = 0;
    for (uint64_t i = 0; i < head->n_entries; i++) {
        struct replay_entry e;
        if (!take(in, &e, sizeof e) || e.slot >= ix->n_slots || e.sequence <= last ||
            e.sequence > head->last)
            return ERR_CORRUPT;
        last = e.sequence;
        if (replay_index_append(ix, &e))
            return ERR_NOMEM;
    }
    return in->left ? ERR_CORRUPT : 0;
}

static int read_all(struct replay_index *ix, const struct buf *bytes)
{
    struct file_head head;
    struct in in = {bytes->data, bytes->len};
    if (!take(&in, &head, sizeof head) || memcmp(head.magic, magic, sizeof magic) != 0)
        return ERR_CORRUPT;
    uint64_t sum = checksum(0, in.at, in.left);
    sum = checksum(sum, &head.origin, sizeof head - offsetof(struct file_head, origin));
    if (sum != head.checksum || head.origin != ix->options.origin ||
        head.epoch >= ix->options.epoch)
        return ERR_CORRUPT;
    uint64_t floor = head.floor;
    int rc = take_slots(ix, &in, head.n_slots);
    if (!rc)
        rc = take_entries(ix, &in, &head);
    if (rc)
        return rc;
    /* Smaller bounds than before may have dropped some already. */
    ix->floor = ix->dropped ? ix->floor : floor;
    ix->floor_epoch = head.floor_epoch;
    if (ix->last < head.last)
        ix->last = head.last;
    return 0;
}

static int read_file(FILE *file, struct buf *bytes)
{
    char block[64 * 1024];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        if (buf_append(bytes, block, n))
            return ERR_NOMEM;
    return ferror(file) ? ERR_IO : 0;
}

/* As it was made. */
static void clear(struct replay_index *ix, uint64_t floor)
{
    for (size_t i = 0; i < ix->max_blocks; i++) {
        free(ix->blocks[i]);
        ix->blocks[i] = NULL;
    }
    ix->base = ix->head = ix->dropped = 0;
    ix->floor = floor;
    ix->floor_epoch = ix->options.epoch;
    ix->n_slots = 0;
    map_release(&ix->by_identity, NULL);
    map_init(&ix->by_identity);
}

int replay_index_load(struct replay_index *ix, const char *path, struct error *err)
{
    struct buf bytes = BUF_INIT(SIZE_MAX / 2);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? error_set(err, ERR_NOT_FOUND, "there is no '%s'", path)
                               : error_set_errno(err, errno, "cannot read '%s'", path);
    int rc = read_file(file, &bytes);
    fclose(file);
    if (unlink(path) && !rc)
        rc = ERR_IO; /* it would be taken again after a run that it knows nothing of */
    pthread_mutex_lock(&ix->lock);
    uint64_t floor = ix->floor;
    if (!rc)
        rc = read_all(ix, &bytes);
    if (rc)
        clear(ix, floor);
    pthread_mutex_unlock(&ix->lock);
    buf_release(&bytes);
    return rc ? error_set(err, rc, "'%s' is damaged or of another run: %s", path,
                          error_code_name(rc))
              : 0;
}
