/* Heads: the samples of each series that are in memory, and the way from the queue into them. */
#include "storage/series_store.h"

#include <stdlib.h>

enum {
    TOKEN_ID_BITS = 40,
    TEXT_PIECE_MIN = 1024,
    TEXT_PIECE_MAX = 64 * 1024,
    INGEST_BLOCKS = 64, /* taken from the queue at a time */
};

/* --- arrays of samples, texts, lists --- */

int sample_array_reserve(struct sample_array *a, size_t n)
{
    if (n <= a->cap)
        return 0;
    size_t cap = a->cap < 4 ? 4 : a->cap * 2;
    if (cap < n)
        cap = n;
    struct sample *v = realloc(a->v, cap * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    a->v = v;
    a->cap = cap;
    return 0;
}

size_t samples_find(const struct sample *v, size_t n, int64_t time_us)
{
    size_t from = 0;
    while (from < n) {
        size_t middle = from + (n - from) / 2;
        if (v[middle].time_us < time_us)
            from = middle + 1;
        else
            n = middle;
    }
    return from;
}

/* Merge a[0..m) and a[m..n) into `out`; equal times keep their order. */
static void merge_runs(const struct sample *a, size_t m, size_t n, struct sample *out)
{
    size_t i = 0, j = m, at = 0;
    while (i < m && j < n)
        out[at++] = a[j].time_us < a[i].time_us ? a[j++] : a[i++];
    while (i < m)
        out[at++] = a[i++];
    while (j < n)
        out[at++] = a[j++];
}

static size_t run_end(const struct sample *v, size_t n, size_t from)
{
    size_t i = from + 1;
    while (i < n && v[i - 1].time_us <= v[i].time_us)
        i++;
    return i < n ? i : n;
}

int samples_sort(struct sample_array *a, struct sample_array *scratch, size_t *ret_dropped)
{
    /* Late samples come as a few rising runs: merge neighbours until one is left. */
    for (size_t runs = 2; runs > 1 && a->n > 1;) {
        if (run_end(a->v, a->n, 0) == a->n)
            break;
        if (sample_array_reserve(scratch, a->n))
            return ERR_NOMEM;
        runs = 0;
        for (size_t from = 0; from < a->n; runs++) {
            size_t middle = run_end(a->v, a->n, from);
            size_t end = middle < a->n ? run_end(a->v, a->n, middle) : middle;
            merge_runs(a->v + from, middle - from, end - from, scratch->v + from);
            from = end;
        }
        scratch->n = a->n;
        struct sample_array swap = *a;
        *a = *scratch;
        *scratch = swap;
    }
    size_t kept = a->n ? 1 : 0;
    for (size_t i = 1; i < a->n; i++)
        if (a->v[i].time_us != a->v[kept - 1].time_us)
            a->v[kept++] = a->v[i];
    *ret_dropped = a->n - kept;
    a->n = kept;
    return 0;
}

char *text_keep(struct text_piece **texts, const void *bytes, size_t len)
{
    struct text_piece *piece = *texts;
    if (!piece || piece->cap - piece->used < len) {
        size_t cap = piece ? piece->cap * 2 : TEXT_PIECE_MIN;
        cap = cap > TEXT_PIECE_MAX ? TEXT_PIECE_MAX : cap;
        cap = cap < len ? len : cap;
        piece = malloc(sizeof *piece + cap);
        if (!piece)
            return NULL;
        piece->next = *texts;
        piece->used = 0;
        piece->cap = cap;
        *texts = piece;
    }
    char *copy = piece->bytes + piece->used;
    if (len)
        memcpy(copy, bytes, len);
    piece->used += len;
    return copy;
}

void text_release(struct text_piece **texts)
{
    while (*texts) {
        struct text_piece *next = (*texts)->next;
        free(*texts);
        *texts = next;
    }
}

int head_list_add(struct head_list *list, struct series_head *h)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        struct series_head **v = realloc(list->v, cap * sizeof *v);
        if (!v)
            return ERR_NOMEM;
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = h;
    return 0;
}

/* --- who is who --- */

bool series_same(const struct series *a, const struct series *b)
{
    return a == b || (a->hash == b->hash && a->canonical_len == b->canonical_len &&
                      memcmp(a->canonical, b->canonical, a->canonical_len) == 0 &&
                      strcmp(a->source, b->source) == 0);
}

int64_t series_token_id(const struct series_store *ss, struct series *s)
{
    int64_t token = atomic_load_explicit(&s->storage_id, memory_order_relaxed);
    return token >> TOKEN_ID_BITS == ss->generation ? token & ((INT64_C(1) << TOKEN_ID_BITS) - 1)
                                                    : 0;
}

void series_set_token(const struct series_store *ss, struct series *s, int64_t id)
{
    atomic_store_explicit(&s->storage_id, ss->generation << TOKEN_ID_BITS | id,
                          memory_order_relaxed);
}

int series_identity(const char *source, const char *canonical, size_t canonical_len,
                    struct buf *out)
{
    buf_append(out, source, strlen(source) + 1);
    return buf_append(out, canonical, canonical_len);
}

/* --- making heads --- */

static int grow_heads(struct series_store *ss, int64_t id)
{
    size_t n = (size_t)id + 1;
    if (n <= ss->n_heads)
        return 0;
    if (n < ss->n_heads * 2)
        n = ss->n_heads * 2;
    struct series_head **heads = realloc(ss->heads, n * sizeof *heads);
    if (!heads)
        return ERR_NOMEM;
    memset(heads + ss->n_heads, 0, (n - ss->n_heads) * sizeof *heads);
    ss->heads = heads;
    ss->n_heads = n;
    return 0;
}

/* A head for the series `id`, with what the database knows of it. */
struct series_head *series_head_add(struct series_store *ss, int64_t id, const struct buf *identity,
                                    struct error *err)
{
    struct series_head *h = calloc(1, sizeof *h);
    if (!h) {
        error_set(err, ERR_NOMEM, "out of memory for a series");
        return NULL;
    }
    h->id = id;
    if (series_load_tail(ss, id, &h->tail, err)) {
        free(h);
        return NULL;
    }
    h->has_last = h->tail.any;
    h->last_time = h->tail.end;
    pthread_mutex_lock(&ss->heads_lock);
    int rc = grow_heads(ss, id);
    if (!rc)
        rc = map_set(&ss->by_identity, identity->data, identity->len, h, NULL);
    if (!rc)
        ss->heads[id] = h;
    pthread_mutex_unlock(&ss->heads_lock);
    if (rc) {
        free(h);
        error_set(err, ERR_NOMEM, "out of memory for a series");
        return NULL;
    }
    return h;
}

/* The id of the series in the database, 0 when it is not there. */
static int stored_id(struct series_store *ss, const struct series *s, int64_t *ret,
                     struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[SQL_SERIES_GET];
    sqlite3_bind_text(stmt, 1, s->source, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, s->canonical, (int)s->canonical_len, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return series_sql_error(ss, SQL_SERIES_GET, err);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_reset(stmt);
    return 0;
}

static int add_head(struct series_store *ss, const struct series *s, struct buf *identity,
                    struct series_head **ret, struct error *err)
{
    int64_t id = 0;
    int rc = stored_id(ss, s, &id, err);
    if (rc)
        return rc;
    bool is_new = id == 0;
    struct series_head *h = series_head_add(ss, is_new ? ss->next_series : id, identity, err);
    if (!h)
        return err->code;
    if (is_new) {
        ss->next_series++;
        h->source_len = strlen(s->source);
        h->hash = s->hash;
        h->identity = buf_take(identity, NULL);
    }
    *ret = h;
    return 0;
}

/* Give `s` the token of its head, made if there is none. */
static int resolve(struct series_store *ss, struct series *s, struct error *err)
{
    struct buf identity = BUF_INIT(SIZE_MAX / 2);
    if (series_identity(s->source, s->canonical, s->canonical_len, &identity)) {
        buf_release(&identity);
        return error_set(err, ERR_NOMEM, "out of memory for a series");
    }
    int rc = 0;
    struct series_head *h = map_get(&ss->by_identity, identity.data, identity.len);
    if (!h)
        rc = add_head(ss, s, &identity, &h, err);
    buf_release(&identity);
    if (!rc)
        series_set_token(ss, s, h->id);
    return rc;
}

static void free_head(struct series_head *h)
{
    free(h->old.v);
    free(h->fresh.v);
    text_release(&h->texts);
    free(h->identity);
    free(h);
}

void series_heads_release(struct series_store *ss)
{
    for (size_t i = 0; i < ss->n_heads; i++)
        if (ss->heads[i])
            free_head(ss->heads[i]);
    free(ss->heads);
    map_release(&ss->by_identity, NULL);
    map_release(&ss->states, free);
}

/* --- from the queue into heads --- */

static int keep_text(struct series_store *ss, struct series_head *h, struct sample *s)
{
    if (s->value.type < VALUE_STRING)
        return 0;
    char *copy = text_keep(&h->texts, s->value.as.ptr, s->value.len);
    if (!copy)
        return ERR_NOMEM;
    s->value.as.ptr = copy;
    h->text_bytes += s->value.len;
    ss->head_bytes += s->value.len;
    return 0;
}

/* Under heads_lock.  All of the run or, without memory, none of it. */
static int push_run(struct series_store *ss, struct series_head *h, const struct sample *s,
                    size_t n, size_t *duplicates)
{
    size_t had_n = h->fresh.n;
    int64_t had_last = h->last_time;
    bool had_any = h->has_last;
    if (!h->dirty && head_list_add(&ss->dirty, h))
        return ERR_NOMEM;
    h->dirty = h->touched = true;
    if (sample_array_reserve(&h->fresh, had_n + n))
        return ERR_NOMEM;
    size_t dropped = 0;
    for (size_t i = 0; i < n; i++) {
        if (!h->has_last || s[i].time_us > h->last_time) {
            h->last_time = s[i].time_us;
            h->has_last = true;
        } else if (s[i].time_us == h->last_time) {
            dropped++;
            continue;
        } else {
            h->unordered = true;
        }
        struct sample *slot = &h->fresh.v[h->fresh.n++];
        *slot = s[i];
        if (keep_text(ss, h, slot)) {
            h->fresh.n = had_n;
            h->last_time = had_last;
            h->has_last = had_any;
            return ERR_NOMEM;
        }
    }
    *duplicates += dropped;
    return 0;
}

static int push_states(struct series_store *ss, const struct sample_block *b)
{
    for (size_t i = 0; i < b->n_states; i++) {
        const struct sample_state *state = &b->states[i];
        struct buf key = BUF_INIT(SIZE_MAX / 2);
        struct pending_state *copy = malloc(sizeof *copy + state->len);
        void *old = NULL;
        int rc =
            copy ? series_identity(b->source, state->key, strlen(state->key), &key) : ERR_NOMEM;
        if (!rc) {
            copy->len = state->len;
            if (state->len)
                memcpy(copy->bytes, state->bytes, state->len);
            rc = map_set(&ss->states, key.data, key.len, copy, &old);
        }
        buf_release(&key);
        free(rc ? (void *)copy : old);
        if (rc)
            return rc;
    }
    return 0;
}

/* NULL: not made yet; the token may be a reader's, who found the series in the database. */
static struct series_head *head_of(const struct series_store *ss, struct series *s)
{
    int64_t id = series_token_id(ss, s);
    return (size_t)id < ss->n_heads ? ss->heads[id] : NULL;
}

static int ingest_block(struct series_store *ss, const struct sample_block *b, struct error *err)
{
    for (size_t r = ss->ingest_run; r < b->n_runs; r++)
        if (!head_of(ss, b->runs[r].series)) {
            int rc = resolve(ss, b->runs[r].series, err);
            if (rc)
                return rc;
        }
    size_t duplicates = 0;
    int rc = 0;
    pthread_mutex_lock(&ss->heads_lock);
    for (; ss->ingest_run < b->n_runs && !rc; ss->ingest_run += !rc) {
        const struct sample_run *run = &b->runs[ss->ingest_run];
        /* Another store may have put its own token there meanwhile: then it is tried again. */
        struct series_head *h = head_of(ss, run->series);
        rc = h ? push_run(ss, h, b->samples + run->first, run->n, &duplicates) : ERR_AGAIN;
    }
    if (!rc)
        rc = push_states(ss, b);
    pthread_mutex_unlock(&ss->heads_lock);
    atomic_fetch_add_explicit(&ss->n_duplicate, duplicates, memory_order_relaxed);
    if (rc)
        return error_set(err, rc, "no memory for samples");
    ss->ingest_run = 0;
    ss->taken_blocks++;
    ss->taken_samples += b->n_samples;
    ss->taken_bytes += b->n_bytes;
    return 0;
}

/* Blocks stay in the queue until their samples are in heads, so that readers always see them. */
int series_ingest(struct series_store *ss, struct error *err)
{
    struct sample_block *blocks[INGEST_BLOCKS];
    int rc = 0;
    for (size_t n = INGEST_BLOCKS; n == INGEST_BLOCKS && !rc;) {
        pthread_mutex_lock(&ss->queue_lock);
        n = ss->queue_n < INGEST_BLOCKS ? ss->queue_n : INGEST_BLOCKS;
        for (size_t i = 0; i < n; i++)
            blocks[i] = ss->queue[(ss->queue_first + i) % ss->queue_cap];
        pthread_mutex_unlock(&ss->queue_lock);
        size_t done = 0, samples = 0;
        for (; done < n && !rc; done += !rc) {
            rc = ingest_block(ss, blocks[done], err);
            samples += rc ? 0 : blocks[done]->n_samples;
        }
        pthread_mutex_lock(&ss->queue_lock);
        if (done) {
            ss->queue_first = (ss->queue_first + done) % ss->queue_cap;
            ss->queue_n -= done;
            ss->queue_samples -= samples;
        }
        pthread_mutex_unlock(&ss->queue_lock);
        for (size_t i = 0; i < done; i++)
            sample_block_unref(blocks[i]);
    }
    return rc;
}

/* --- late samples: bring `fresh` in order and drop what is stored already --- */

static size_t drop_known(struct sample *v, size_t n, const struct sample_array *known)
{
    if (!n || !known->n || v[0].time_us > known->v[known->n - 1].time_us)
        return n;
    size_t kept = 0, at = samples_find(known->v, known->n, v[0].time_us);
    for (size_t i = 0; i < n; i++) {
        while (at < known->n && known->v[at].time_us < v[i].time_us)
            at++;
        if (at == known->n || known->v[at].time_us != v[i].time_us)
            v[kept++] = v[i];
    }
    return kept;
}

int series_head_normalise(struct series_store *ss, struct series_head *h, struct error *err)
{
    if (!h->unordered)
        return 0;
    /* Readers may look at `fresh`: work on a copy. */
    struct sample_array *work = &ss->gathered;
    if (sample_array_reserve(work, h->fresh.n))
        return error_set(err, ERR_NOMEM, "no memory to sort samples");
    memcpy(work->v, h->fresh.v, h->fresh.n * sizeof *work->v);
    work->n = h->fresh.n;
    size_t dropped;
    if (samples_sort(work, &ss->sorted, &dropped))
        return error_set(err, ERR_NOMEM, "no memory to sort samples");
    work->n = drop_known(work->v, work->n, &h->old);
    int rc = series_drop_stored(ss, h, work->v, &work->n, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&ss->heads_lock);
    atomic_fetch_add_explicit(&ss->n_duplicate, h->fresh.n - work->n, memory_order_relaxed);
    memcpy(h->fresh.v, work->v, work->n * sizeof *work->v);
    h->fresh.n = work->n;
    h->unordered = false;
    pthread_mutex_unlock(&ss->heads_lock);
    return 0;
}
