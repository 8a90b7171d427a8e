#include "base/message.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct encoded {
    size_t len;
    char data[];
};

struct message {
    atomic_uint refs;
    struct message_place place;
    int64_t time_us;
    _Atomic(struct encoded *) frames[MESSAGE_FRAME_KINDS];
    size_t len;
    char body[];
};

/* Set before any other thread runs, then only read. */
static message_encoder_fn *encoders[MESSAGE_FRAME_KINDS];

enum { FRAME_OVERHEAD_MAX = 512 };

size_t message_id_format(const struct message_id *id, char out[MESSAGE_ID_SIZE])
{
    int n = snprintf(out, MESSAGE_ID_SIZE, "%016" PRIx64 ":%" PRIu64 ":%" PRIu64, id->origin,
                     id->epoch, id->sequence);
    return (size_t)n; /* at most 16 + 1 + 20 + 1 + 20 */
}

bool message_id_parse(const char *text, struct message_id *ret)
{
    struct message_id id;
    int end = 0;
    if (strlen(text) >= MESSAGE_ID_SIZE || strspn(text, "0123456789abcdef:") != strlen(text))
        return false;
    if (sscanf(text, "%16" SCNx64 ":%20" SCNu64 ":%20" SCNu64 "%n", &id.origin, &id.epoch,
               &id.sequence, &end) != 3 ||
        text[end] != '\0')
        return false;
    *ret = id;
    return true;
}

size_t message_place_format(const struct message_place *place, char out[MESSAGE_PLACE_SIZE])
{
    size_t len = message_id_format(&place->id, out);
    if (!place->within)
        return len;
    int n = snprintf(out + len, MESSAGE_PLACE_SIZE - len, "@%" PRId64 ".%016" PRIx64,
                     place->time_us, place->series);
    return len + (size_t)n; /* at most 1 + 20 + 1 + 16 */
}

bool message_place_parse(const char *text, struct message_place *ret)
{
    struct message_place place = {0};
    char id[MESSAGE_ID_SIZE];
    int end = 0;
    size_t len = strcspn(text, "@");
    if (len >= sizeof id)
        return false;
    memcpy(id, text, len);
    id[len] = '\0';
    if (!message_id_parse(id, &place.id))
        return false;
    place.within = text[len] == '@';
    if (place.within) {
        const char *rest = text + len + 1;
        if (strlen(rest) > 1 + 20 + 1 + 16 || strspn(rest, "-0123456789abcdef.") != strlen(rest) ||
            sscanf(rest, "%20" SCNd64 ".%16" SCNx64 "%n", &place.time_us, &place.series, &end) !=
                2 ||
            rest[end] != '\0')
            return false;
    }
    *ret = place;
    return true;
}

bool message_id_after(const struct message_id *a, const struct message_id *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->sequence > b->sequence;
}

void message_set_encoder(enum message_frame_kind kind, message_encoder_fn *encode)
{
    encoders[kind] = encode;
}

struct message *message_new(const struct message_id *id, int64_t time_us, const void *body,
                            size_t len)
{
    struct message *m = malloc(sizeof *m + len + 1);
    if (!m)
        return NULL;
    atomic_init(&m->refs, 1);
    m->place = (struct message_place){.id = id ? *id : (struct message_id){0}};
    m->time_us = time_us;
    for (int i = 0; i < MESSAGE_FRAME_KINDS; i++)
        atomic_init(&m->frames[i], NULL);
    m->len = len;
    memcpy(m->body, body, len);
    m->body[len] = '\0';
    return m;
}

void message_set_id(struct message *m, const struct message_id *id)
{
    m->place.id = *id;
}

void message_set_within(struct message *m, int64_t time_us, uint64_t series)
{
    m->place.within = true;
    m->place.time_us = time_us;
    m->place.series = series;
}

struct message *message_ref(struct message *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void message_unref(struct message *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; i < MESSAGE_FRAME_KINDS; i++)
        free(atomic_load_explicit(&m->frames[i], memory_order_relaxed));
    free(m);
}

const struct message_id *message_id(const struct message *m)
{
    return &m->place.id;
}

struct message_place message_place(const struct message *m)
{
    return m->place;
}

int64_t message_time_us(const struct message *m)
{
    return m->time_us;
}

struct message_frame message_body(const struct message *m)
{
    return (struct message_frame){m->body, m->len};
}

/* Build the frame.  Two threads may do so at once; the second one's work is thrown away. */
static struct encoded *encode(struct message *m, enum message_frame_kind kind)
{
    struct buf b = BUF_INIT(m->len + FRAME_OVERHEAD_MAX);
    struct encoded *made = NULL, *expected = NULL;
    if (!encoders[kind] || encoders[kind](m, &b) || b.failed)
        goto out;
    made = malloc(sizeof *made + b.len);
    if (!made)
        goto out;
    made->len = b.len;
    memcpy(made->data, b.data, b.len);
    if (!atomic_compare_exchange_strong_explicit(&m->frames[kind], &expected, made,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        free(made);
        made = expected;
    }
out:
    buf_release(&b);
    return made;
}

struct message_frame message_frame(struct message *m, enum message_frame_kind kind)
{
    struct encoded *frame = atomic_load_explicit(&m->frames[kind], memory_order_acquire);
    if (!frame)
        frame = encode(m, kind);
    return frame ? (struct message_frame){frame->data, frame->len} : (struct message_frame){"", 0};
}
