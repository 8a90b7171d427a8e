#include "storage/journal_priv.h"

#include "base/time.h"
#include "storage/filter.h"

#include <stdlib.h>

enum {
    READ_WAIT_MS = 10000,
    /* An event stays that long after the broker had it, whatever its age: other nodes come back from an
     * outage later than this one, and ask for what they missed. */
    PUBLISHED_KEEP_MS = 60000,
};

/* What clients are told of a database that cannot be reached (contract 1.2); the reason stands in the
 * log, once for each outage. */
static int unavailable(struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "Application database is unavailable.");
}

static int answer(int rc, struct error *err)
{
    return rc == ERR_UNAVAILABLE ? unavailable(err) : rc;
}

/* --- waiting for the database --- */

/* Until all that was accepted before is in the database; as long as it gets on. */
static int await_delivery(struct journal *j, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    uint64_t number = j->newest, block = j->appended, attempts = j->attempts, reached = 0;
    int64_t deadline_ms = 0;
    j->asked++;
    journal_wake_locked(j);
    while (!rc && (j->forwarded < number || j->delivered < block)) {
        if (j->forwarded + j->delivered != reached || !deadline_ms) {
            reached = j->forwarded + j->delivered;
            deadline_ms = time_monotonic_ms() + READ_WAIT_MS;
        }
        /* An attempt that began after us and failed says enough. */
        if (j->failure.code && j->attempts > attempts + 1)
            rc = ERR_UNAVAILABLE;
        else if (!cond_wait_until(&j->changed, &j->lock, deadline_ms))
            rc = ERR_UNAVAILABLE;
    }
    j->asked--;
    pthread_mutex_unlock(&j->lock);
    return rc ? unavailable(err) : 0;
}

/* --- reading --- */

int journal_document_save(struct storage *st, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err)
{
    struct journal *j = journal_of(st);
    return answer(j->ops->document_save(j->remote, c, key, document, ret_inserted, err), err);
}

int journal_document_get(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err)
{
    struct journal *j = journal_of(st);
    return answer(j->ops->document_get(j->remote, c, key, ret, err), err);
}

struct own_filter {
    struct filter *filter;
    storage_document_fn *each;
    void *ctx;
    int rc;
    struct error *err;
};

static bool filter_here(void *ctx, const char *key, struct json_object *document)
{
    struct own_filter *f = ctx;
    f->rc = filter_match(f->filter, document, f->err);
    return f->rc == 0 || (f->rc > 0 && f->each(f->ctx, key, document));
}

/* By the server; what it does not implement is done here. */
int journal_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err)
{
    struct journal *j = journal_of(st);
    struct own_filter own = {.each = each, .ctx = ctx, .err = err};
    int rc = filter ? filter_new(filter, &own.filter, err) : 0;
    if (rc)
        return rc;
    rc = j->ops->document_find(j->remote, c, filter, each, ctx, err);
    if (rc == ERR_UNSUPPORTED && filter) {
        rc = j->ops->document_find(j->remote, c, NULL, filter_here, &own, err);
        if (!rc && own.rc < 0)
            rc = own.rc;
    }
    filter_free(own.filter);
    return answer(rc, err);
}

int journal_event_last(struct storage *st, const char *topic, const char *routing_key,
                       struct buf *out, struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = await_delivery(j, err);
    return rc ? rc : answer(j->ops->event_last(j->remote, topic, routing_key, out, err), err);
}

int journal_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = await_delivery(j, err);
    return rc ? rc : answer(j->ops->event_query(j->remote, topic, regex, out, ret_n, err), err);
}

struct journal_event_cursor {
    struct storage_event_cursor base;
    /* one of: */
    const struct remote_ops *ops;
    struct remote_event_cursor *remote;
    struct storage_event_cursor *local;
};

int journal_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct storage_event_cursor **ret, struct error *err)
{
    struct journal *j = journal_of(st);
    struct journal_event_cursor *c = calloc(1, sizeof *c);
    int rc = c ? await_delivery(j, err) : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (!rc)
        rc = answer(j->ops->event_range(j->remote, topic, regex, start_us, end_us, &c->remote, err),
                    err);
    if (rc) {
        free(c);
        return rc;
    }
    c->ops = j->ops;
    *ret = &c->base;
    return 0;
}

int journal_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                       struct error *err)
{
    struct journal_event_cursor *c = (struct journal_event_cursor *)cursor; /* its first member */
    return c->local ? storage_event_next(c->local, ret, err)
                    : answer(c->ops->event_next(c->remote, ret, err), err);
}

void journal_event_cursor_close(struct storage_event_cursor *cursor)
{
    struct journal_event_cursor *c = (struct journal_event_cursor *)cursor; /* its first member */
    if (c->local)
        storage_event_cursor_close(c->local);
    else
        c->ops->event_cursor_close(c->remote);
    free(c);
}

/* Numbers are this node's: what it accepted lately is in its own journal. */
int journal_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                         storage_key_wanted_fn *wanted, void *ctx,
                         struct storage_event_cursor **ret, struct error *err)
{
    struct journal_event_cursor *c = calloc(1, sizeof *c);
    int rc = c ? storage_event_follow(journal_of(st)->local, after, since_us, wanted, ctx,
                                      &c->local, err)
               : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (rc)
        free(c);
    else
        *ret = &c->base;
    return rc;
}

bool journal_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence)
{
    return storage_event_followed(((const struct journal_event_cursor *)cursor)->local,
                                  ret_sequence);
}

int journal_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after, struct error *err)
{
    return storage_event_since(journal_of(st)->local, time_us, ret_after, err);
}

int journal_event_place(struct storage *st, const struct message_id *id,
                        struct storage_event_place *ret, struct error *err)
{
    return storage_event_place(journal_of(st)->local, id, ret, err);
}

int journal_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err)
{
    uint64_t sequence = 0;
    int rc = storage_event_published(journal_of(st)->local, &sequence, err);
    if (!rc)
        atomic_store(&journal_of(st)->published, *ret_sequence = sequence);
    return rc;
}

int journal_event_set_published(struct storage *st, uint64_t sequence, struct error *err)
{
    struct journal *j = journal_of(st);
    int64_t now_ms = time_monotonic_ms();
    if (now_ms >= j->published_next_ms) {
        if (j->published_next)
            atomic_store(&j->published, j->published_next);
        j->published_next = sequence;
        j->published_next_ms = now_ms + PUBLISHED_KEEP_MS;
    }
    return storage_event_set_published(j->local, sequence, err);
}

struct journal_sample_cursor {
    struct storage_sample_cursor base;
    const struct remote_ops *ops;
    struct remote_sample_cursor *remote;
};

static struct remote_series remote_of(const struct series *s)
{
    return (struct remote_series){s->source, s->canonical, s->hash};
}

int journal_samples_range(struct storage *st, struct series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct storage_sample_cursor **ret, struct error *err)
{
    struct journal *j = journal_of(st);
    struct remote_series remote = remote_of(series);
    struct journal_sample_cursor *c = calloc(1, sizeof *c);
    int rc = c ? await_delivery(j, err) : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (!rc)
        rc = j->ops->samples_range(j->remote, &remote, start_us, end_us, order, &c->remote, err);
    if (rc) {
        free(c);
        return rc;
    }
    c->ops = j->ops;
    *ret = &c->base;
    return 0;
}

long journal_samples_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                          struct error *err)
{
    struct journal_sample_cursor *c = (struct journal_sample_cursor *)cursor; /* its first member */
    return c->ops->samples_next(c->remote, ret, err);
}

void journal_samples_cursor_close(struct storage_sample_cursor *cursor)
{
    struct journal_sample_cursor *c = (struct journal_sample_cursor *)cursor; /* its first member */
    c->ops->samples_cursor_close(c->remote);
    free(c);
}

int journal_samples_last_time(struct storage *st, struct series *series, int64_t *ret_us,
                              struct error *err)
{
    struct journal *j = journal_of(st);
    struct remote_series remote = remote_of(series);
    int rc = await_delivery(j, err);
    return rc ? rc : answer(j->ops->samples_last_time(j->remote, &remote, ret_us, err), err);
}

int journal_state_get(struct storage *st, const char *source, const char *key, struct buf *out,
                      struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = await_delivery(j, err);
    return rc ? rc : answer(j->ops->state_get(j->remote, source, key, out, err), err);
}
