#include "timeseries/replay.h"

#include "base/time.h"
#include "storage/storage.h"
#include "timeseries/replay_reading.h"
#include "timeseries/timeseries_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_AT_ONCE = 4096,
    ITEMS_MAX = 500, /* of a message of a replay by time */
    BODY_MAX = 16 << 20,
    COUNT_MS = 100, /* longest count of what a gap holds */
};

struct sample_replay {
    struct stream_replay stream;
    struct timeseries *ts;
    struct message_id node; /* origin and epoch of this run */
    struct series *const *series;
    size_t n;
    struct replay_want want;
    struct reading *readings; /* of each series */
    struct buf body;

    struct replay_gap gap; /* to be told before what follows; place NULL: none */
    struct message_place goes_on;
    struct replay_gap junction; /* to be told where replay by time ends; place NULL: none */
    struct message_place junction_at;
    struct replay_gap lost; /* entries in a row without stored samples; count 0: none */
    struct message_place lost_at;

    /* by the index */
    uint64_t after; /* the entries up to this number are done */
    struct replay_entry *entries;
    size_t n_entries, next_entry;
    uint64_t reached; /* of the entries at hand */
    bool at_end;

    /* by time, before that */
    struct reading_heap heap; /* the series that have more */
};

/* --- gaps --- */

static struct message_id id_of(const struct sample_replay *sr, uint64_t sequence)
{
    return (struct message_id){sr->node.origin, sr->node.epoch, sequence};
}

/* Stored samples of the series between the two times; -1: too many to count at once. */
static int64_t count_stored(struct sample_replay *sr, int64_t from_us, int64_t to_us)
{
    int64_t deadline_ms = time_monotonic_ms() + COUNT_MS, count = 0;
    for (size_t i = 0; i < sr->n; i++) {
        struct storage_sample_cursor *cursor = NULL;
        const struct sample *samples;
        long n = storage_samples_range(sr->ts->options.storage, sr->series[i], from_us, to_us,
                                       STORAGE_ASCENDING, &cursor, NULL);
        while (!n || n > 0) {
            n = storage_samples_next(cursor, &samples, NULL);
            if (n <= 0 || time_monotonic_ms() >= deadline_ms)
                break;
            count += n;
        }
        storage_samples_cursor_close(cursor);
        if (n != 0)
            return -1;
    }
    return count;
}

static void set_gap(struct sample_replay *sr, int64_t from_us, uint64_t goes_on, int64_t count)
{
    sr->after = goes_on;
    sr->goes_on = (struct message_place){.id = id_of(sr, goes_on)};
    sr->gap = (struct replay_gap){&sr->goes_on, from_us, (int64_t)goes_on, count};
}

/* The messages between a number and the index's floor are given up: numbers are times. */
static void set_gap_to_floor(struct sample_replay *sr, uint64_t from, uint64_t floor)
{
    set_gap(sr, (int64_t)from, floor, count_stored(sr, (int64_t)from, (int64_t)floor));
}

static int tell_gap(struct sample_replay *sr, struct replay *out)
{
    int rc = sr->gap.place ? replay_add_gap(out, &sr->gap) : 0;
    sr->gap.place = NULL;
    return rc;
}

static void add_lost(struct sample_replay *sr, const struct replay_entry *e)
{
    if (!sr->lost.count)
        sr->lost = (struct replay_gap){&sr->lost_at, e->first_us, e->last_us, 0};
    if (sr->lost.from_us > e->first_us)
        sr->lost.from_us = e->first_us;
    if (sr->lost.to_us < e->last_us)
        sr->lost.to_us = e->last_us;
    sr->lost.count += e->n;
    sr->lost_at = (struct message_place){.id = id_of(sr, e->sequence)};
}

static int tell_lost(struct sample_replay *sr, struct replay *out)
{
    int rc = sr->lost.count ? replay_add_gap(out, &sr->lost) : 0;
    sr->lost.count = 0;
    return rc;
}

/* --- messages --- */

static void add_item(struct sample_replay *sr, const struct sample *s, size_t n)
{
    if (n)
        buf_append_char(&sr->body, ',');
    timeseries_write_sample(&sr->body, s, !sr->ts->options.hash_hyprxa);
}

static int add_message(struct sample_replay *sr, struct replay *out,
                       const struct message_place *place, int64_t time_us)
{
    buf_append_lit(&sr->body, "]}");
    struct message *m =
        sr->body.failed ? NULL : message_new(&place->id, time_us, sr->body.data, sr->body.len);
    if (!m)
        return ERR_NOMEM;
    if (place->within)
        message_set_within(m, place->time_us, place->series);
    int rc = replay_add(out, m);
    message_unref(m);
    return rc;
}

static void begin_message(struct sample_replay *sr, size_t series)
{
    buf_clear(&sr->body);
    timeseries_begin_message(&sr->body, sr->series[series]);
}

/* --- by the index: each message as it went live --- */

/* Read entries, and open for each of their series what lies between the first and the last. */
static int read_entries(struct sample_replay *sr, struct error *err)
{
    sr->next_entry = 0;
    int rc = replay_index_read(sr->ts->index, &sr->want, sr->after, sr->entries, ENTRIES_AT_ONCE,
                               &sr->n_entries, &sr->reached, &sr->at_end);
    for (size_t i = 0; i < sr->n_entries && !rc; i++) {
        struct reading *r = &sr->readings[sr->entries[i].slot];
        if (!r->wanted)
            r->from_us = sr->entries[i].first_us;
        r->to_us = sr->entries[i].last_us;
        r->wanted = true;
    }
    for (size_t i = 0; i < sr->n_entries && !rc; i++) {
        uint32_t series = sr->entries[i].slot;
        if (sr->readings[series].wanted)
            rc = reading_open(&sr->readings[series], sr->ts->options.storage, sr->series[series],
                              err);
    }
    return rc;
}

/* The samples of one entry.  None: they are not stored (any more), which is a gap. */
static int add_entry(struct sample_replay *sr, const struct replay_entry *e, struct replay *out,
                     struct error *err)
{
    struct reading *r = &sr->readings[e->slot];
    const struct sample *s;
    size_t n = 0;
    int rc = 0;
    begin_message(sr, e->slot);
    while (!rc && (s = reading_head(r)) && s->time_us <= e->last_us) {
        if (s->time_us >= e->first_us)
            add_item(sr, s, n++);
        rc = reading_advance(r, err);
    }
    if (rc)
        return rc;
    struct message_place place = {.id = id_of(sr, e->sequence)};
    if (n) {
        rc = tell_lost(sr, out);
        rc = rc ? rc : add_message(sr, out, &place, e->first_us);
    } else {
        add_lost(sr, e);
    }
    return rc ? error_set(err, rc, "out of memory for a replay") : 0;
}

static void close_readings(struct sample_replay *sr)
{
    for (size_t i = 0; i < sr->n; i++)
        reading_close(&sr->readings[i]);
}

/* So slow a reader that the index gave up what he was to get. */
static int fall_behind(struct sample_replay *sr)
{
    struct replay_span span = replay_index_span(sr->ts->index, &sr->want, NULL);
    set_gap_to_floor(sr, sr->after, span.floor);
    return 1;
}

static int next_by_index(struct sample_replay *sr, struct replay *out, struct error *err)
{
    size_t start = out->bytes.len;
    if (sr->next_entry == sr->n_entries) {
        int rc = read_entries(sr, err);
        if (rc == ERR_NOT_FOUND)
            return fall_behind(sr);
        if (rc)
            return rc;
    }
    while (sr->next_entry < sr->n_entries && out->bytes.len - start < REPLAY_PORTION) {
        int rc = add_entry(sr, &sr->entries[sr->next_entry++], out, err);
        if (rc)
            return rc;
    }
    if (tell_lost(sr, out))
        return error_set(err, ERR_NOMEM, "out of memory for a replay");
    if (sr->next_entry < sr->n_entries)
        return 1;
    close_readings(sr);
    sr->after = sr->reached;
    out->reached = id_of(sr, sr->reached);
    return !sr->at_end;
}

/* --- by time: the series merged, in order of time and then of their hash --- */

static int add_run(struct sample_replay *sr, struct replay *out, struct error *err)
{
    size_t series = reading_heap_first(&sr->heap), n = 0;
    struct reading *r = &sr->readings[series];
    int64_t first_us = reading_head(r)->time_us, last_us;
    int rc;
    begin_message(sr, series);
    do {
        last_us = reading_head(r)->time_us;
        add_item(sr, reading_head(r), n++);
        rc = reading_advance(r, err);
    } while (!rc && n < ITEMS_MAX && sr->body.len < REPLAY_PORTION &&
             reading_heap_stays_first(&sr->heap));
    if (rc)
        return rc;
    reading_heap_settle(&sr->heap);
    struct message_place place = {id_of(sr, sr->after), true, last_us, r->order};
    rc = add_message(sr, out, &place, first_us);
    return rc ? error_set(err, rc, "out of memory for a replay") : 0;
}

static int next(void *ctx, struct replay *out, struct error *err)
{
    struct sample_replay *sr = ctx;
    size_t start = out->bytes.len;
    if (sr->heap.n == 0 && sr->junction.place) {
        sr->gap = sr->junction;
        sr->junction.place = NULL;
    }
    if (tell_gap(sr, out))
        return error_set(err, ERR_NOMEM, "out of memory for a replay");
    if (sr->heap.n == 0)
        return next_by_index(sr, out, err);
    while (sr->heap.n && out->bytes.len - start < REPLAY_PORTION) {
        int rc = add_run(sr, out, err);
        if (rc)
            return rc;
    }
    if (sr->heap.n == 0)
        close_readings(sr);
    return 1;
}

/* --- where to begin --- */

/* Up to where each series is read by time: the last that the index will not give behind sr->after. */
static int find_bounds(struct sample_replay *sr, struct error *err)
{
    struct storage *st = sr->ts->options.storage;
    int64_t *last_us = calloc(sr->n, sizeof *last_us);
    int rc = last_us ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < sr->n && !rc; i++) {
        last_us[i] = INT64_MIN;
        rc = storage_samples_last_time(st, sr->series[i], &last_us[i], err);
        rc = rc == ERR_NOT_FOUND ? 0 : rc;
    }
    if (!rc)
        sr->after = replay_index_span(sr->ts->index, &sr->want, last_us).head;
    for (size_t i = 0; i < sr->n && !rc; i++)
        sr->readings[i].to_us = last_us[i];
    free(last_us);
    return rc;
}

static int open_by_time(struct sample_replay *sr, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < sr->n && !rc; i++) {
        struct reading *r = &sr->readings[i];
        if (r->from_us <= r->to_us)
            rc = reading_open(r, sr->ts->options.storage, sr->series[i], err);
    }
    return rc ? rc : reading_heap_init(&sr->heap, sr->readings, sr->n);
}

/* A replay by time that broke off goes on to where it would have ended, so that its times only rise;
 * what went live since it began comes by the index.  Later bounds would not do: a series that went
 * live late, behind others of a later time, would take the place back. */
static int keep_bounds(struct sample_replay *sr, uint64_t began)
{
    int rc = 0;
    sr->after = began;
    for (sr->at_end = false; !sr->at_end && !rc; sr->after = sr->reached) {
        rc = replay_index_read(sr->ts->index, &sr->want, sr->after, sr->entries, ENTRIES_AT_ONCE,
                               &sr->n_entries, &sr->reached, &sr->at_end);
        for (size_t i = 0; i < sr->n_entries && !rc; i++) {
            struct reading *r = &sr->readings[sr->entries[i].slot];
            if (r->to_us >= sr->entries[i].first_us)
                r->to_us = sr->entries[i].first_us - 1;
        }
    }
    sr->n_entries = 0;
    sr->after = began;
    return rc;
}

static int go_on_by_time(struct sample_replay *sr, const struct message_place *place, bool reached,
                         struct error *err)
{
    for (size_t i = 0; i < sr->n; i++)
        sr->readings[i].from_us = place->time_us + (sr->readings[i].order <= place->series);
    int rc = find_bounds(sr, err);
    uint64_t head = sr->after;
    if (!rc && reached)
        rc = keep_bounds(sr, place->id.sequence);
    if (rc == ERR_NOT_FOUND || (!rc && !reached)) {
        /* What went live late meanwhile is missed, if there was any. */
        rc = find_bounds(sr, err);
        head = sr->after;
        set_gap(sr, (int64_t)place->id.sequence, head, -1);
        sr->goes_on = *place;
        sr->goes_on.id = id_of(sr, head);
    }
    return rc ? rc : open_by_time(sr, err);
}

static bool is_known(const struct sample_replay *sr, const struct message_id *id,
                     const struct replay_span *span)
{
    return id->origin == sr->node.origin && id->epoch <= sr->node.epoch &&
           id->sequence <= span->head;
}

/* Is the index complete from the place on?  Not where another node streamed a series meanwhile. */
static bool is_complete(const struct sample_replay *sr, const struct message_id *id)
{
    for (size_t i = 0; i < sr->n; i++)
        if (atomic_load(&sr->series[i]->held_since_us) > (int64_t)id->sequence)
            return false;
    return true;
}

/* Between what is stored of another node's series and what comes live something may be missing. */
static void expect_junction(struct sample_replay *sr)
{
    for (size_t i = 0; i < sr->n; i++) {
        if (atomic_load(&sr->series[i]->held_since_us) != INT64_MAX)
            continue;
        sr->junction_at = (struct message_place){.id = id_of(sr, sr->after)};
        if (!sr->junction.place || sr->junction.from_us > sr->readings[i].to_us)
            sr->junction.from_us = sr->readings[i].to_us;
        sr->junction.place = &sr->junction_at;
        sr->junction.to_us = time_now_us();
        sr->junction.count = -1;
    }
}

static int find_start(struct sample_replay *sr, const struct resume *resume, struct error *err)
{
    const struct message_id *id = &resume->place.id;
    struct replay_span span = replay_index_span(sr->ts->index, &sr->want, NULL);
    sr->after = span.head;
    if (resume->kind == RESUME_SINCE) {
        for (size_t i = 0; i < sr->n; i++)
            sr->readings[i].from_us = resume->since_us;
        int rc = find_bounds(sr, err);
        if (!rc)
            expect_junction(sr);
        return rc ? rc : open_by_time(sr, err);
    }
    if (resume->kind == RESUME_UNKNOWN || !is_known(sr, id, &span) || !is_complete(sr, id)) {
        set_gap(sr, INT64_MIN, span.head, -1);
        sr->gap.to_us = time_now_us();
        return 0;
    }
    bool reached = id->epoch >= span.epoch && id->sequence >= span.floor;
    if (resume->place.within)
        return go_on_by_time(sr, &resume->place, reached, err);
    if (reached)
        sr->after = id->sequence;
    else
        set_gap_to_floor(sr, id->sequence, span.floor);
    return 0;
}

/* --- life --- */

static int allocate(struct sample_replay *sr)
{
    sr->readings = calloc(sr->n, sizeof *sr->readings);
    sr->entries = malloc(ENTRIES_AT_ONCE * sizeof *sr->entries);
    if (!sr->readings || !sr->entries)
        return ERR_NOMEM;
    for (size_t i = 0; i < sr->n; i++)
        sr->readings[i].order = (uint64_t)sr->series[i]->hash;
    return replay_want_init(&sr->want, sr->series, sr->n);
}

int sample_replay_open(struct timeseries *ts, struct series *const *series, size_t n,
                       const struct resume *resume, struct sample_replay **ret, struct error *err)
{
    struct sample_replay *sr = calloc(1, sizeof *sr);
    if (!sr)
        return error_set(err, ERR_NOMEM, "out of memory");
    sr->stream = (struct stream_replay){next, sr};
    sr->ts = ts;
    sr->node.origin = storage_origin(ts->options.storage);
    sr->node.epoch = storage_epoch(ts->options.storage);
    sr->series = series;
    sr->n = n;
    buf_init(&sr->body, BODY_MAX);
    int rc =
        allocate(sr) ? error_set(err, ERR_NOMEM, "out of memory") : find_start(sr, resume, err);
    if (rc) {
        sample_replay_close(sr);
        return rc;
    }
    *ret = sr;
    return 0;
}

struct message_place sample_place(struct timeseries *ts)
{
    struct replay_want none = {0};
    uint64_t head = replay_index_span(ts->index, &none, NULL).head;
    struct storage *st = ts->options.storage;
    return (struct message_place){.id = {storage_origin(st), storage_epoch(st), head}};
}

const struct stream_replay *sample_replay_stream(const struct sample_replay *sr)
{
    return &sr->stream;
}

void sample_replay_close(struct sample_replay *sr)
{
    if (!sr)
        return;
    if (sr->readings)
        close_readings(sr);
    free(sr->readings);
    free(sr->entries);
    reading_heap_release(&sr->heap);
    replay_want_release(&sr->want);
    buf_release(&sr->body);
    free(sr);
}
