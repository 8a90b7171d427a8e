/* The public functions: find the back end, call it. */
#include "storage/storage_priv.h"

#include <string.h>

static const struct storage_ops *const back_ends[] = {&storage_sqlite_ops, &storage_journal_ops};

int storage_open(const struct storage_options *options, struct storage **ret, struct error *err)
{
    if (!options->uri || !options->uri[0])
        return error_set(err, ERR_INVALID, "storage: no URI; expected sqlite:///path/hyprxa.db");
    for (size_t i = 0; i < sizeof back_ends / sizeof *back_ends; i++)
        if (strncmp(options->uri, back_ends[i]->scheme, strlen(back_ends[i]->scheme)) == 0)
            return back_ends[i]->open(options, ret, err);
    /* Of a URI only the scheme is shown: the rest may hold a password. */
    return error_set(err, ERR_UNSUPPORTED,
                     "storage: no back end for '%.*s'; expected sqlite:///path/hyprxa.db or "
                     "mongodb://host",
                     (int)strcspn(options->uri, "/?@"), options->uri);
}

void storage_on_event_commit(struct storage *st, storage_committed_fn *fn, void *ctx)
{
    st->ops->on_event_commit(st, fn, ctx);
}

void storage_stop(struct storage *st)
{
    if (st)
        st->ops->stop(st);
}

void storage_close(struct storage *st)
{
    if (!st)
        return;
    st->ops->stop(st);
    st->ops->close(st);
}

int storage_document_save(struct storage *st, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err)
{
    return st->ops->document_save(st, c, key, document, ret_inserted, err);
}

int storage_document_get(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err)
{
    return st->ops->document_get(st, c, key, ret, err);
}

int storage_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err)
{
    return st->ops->document_find(st, c, filter, each, ctx, err);
}

int storage_event_append(struct storage *st, const struct storage_event *event, int64_t deadline_ms,
                         struct message_id *ret_id, struct error *err)
{
    return st->ops->event_append(st, event, deadline_ms, ret_id, err);
}

int storage_event_last(struct storage *st, const char *topic, const char *routing_key,
                       struct buf *out, struct error *err)
{
    return st->ops->event_last(st, topic, routing_key, out, err);
}

int storage_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err)
{
    return st->ops->event_query(st, topic, regex, out, ret_n, err);
}

int storage_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct storage_event_cursor **ret, struct error *err)
{
    int result = st->ops->event_range(st, topic, regex, start_us, end_us, ret, err);
    if (!result)
        (*ret)->ops = st->ops;
    return result;
}

int storage_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                       struct error *err)
{
    return cursor->ops->event_next(cursor, ret, err);
}

void storage_event_cursor_close(struct storage_event_cursor *cursor)
{
    if (cursor)
        cursor->ops->event_cursor_close(cursor);
}

int storage_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                         storage_key_wanted_fn *wanted, void *ctx,
                         struct storage_event_cursor **ret, struct error *err)
{
    int result = st->ops->event_follow(st, after, since_us, wanted, ctx, ret, err);
    if (!result)
        (*ret)->ops = st->ops;
    return result;
}

bool storage_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence)
{
    return cursor->ops->event_followed(cursor, ret_sequence);
}

int storage_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after, struct error *err)
{
    return st->ops->event_since(st, time_us, ret_after, err);
}

int storage_event_place(struct storage *st, const struct message_id *id,
                        struct storage_event_place *ret, struct error *err)
{
    return st->ops->event_place(st, id, ret, err);
}

int storage_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err)
{
    return st->ops->event_published(st, ret_sequence, err);
}

int storage_event_set_published(struct storage *st, uint64_t sequence, struct error *err)
{
    return st->ops->event_set_published(st, sequence, err);
}

int storage_samples_append(struct storage *st, struct sample_block *block, int64_t deadline_ms,
                           struct error *err)
{
    return st->ops->samples_append(st, block, deadline_ms, err);
}

int storage_samples_flush(struct storage *st, struct error *err)
{
    return st->ops->samples_flush(st, err);
}

int storage_samples_range(struct storage *st, struct series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct storage_sample_cursor **ret, struct error *err)
{
    int result = st->ops->samples_range(st, series, start_us, end_us, order, ret, err);
    if (!result)
        (*ret)->ops = st->ops;
    return result;
}

long storage_samples_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                          struct error *err)
{
    return cursor->ops->samples_next(cursor, ret, err);
}

void storage_samples_cursor_close(struct storage_sample_cursor *cursor)
{
    if (cursor)
        cursor->ops->samples_cursor_close(cursor);
}

void storage_samples_cursor_window(struct storage_sample_cursor *cursor, size_t bytes)
{
    cursor->window_bytes = bytes;
}

bool storage_samples_incomplete(const struct storage_sample_cursor *cursor)
{
    return cursor->incomplete;
}

int storage_samples_last_time(struct storage *st, struct series *series, int64_t *ret_us,
                              struct error *err)
{
    return st->ops->samples_last_time(st, series, ret_us, err);
}

int storage_state_get(struct storage *st, const char *source, const char *key, struct buf *out,
                      struct error *err)
{
    return st->ops->state_get(st, source, key, out, err);
}

int storage_logs_append(struct storage *st, const struct storage_log *logs, size_t n,
                        struct error *err)
{
    return st->ops->logs_append(st, logs, n, err);
}

int storage_logs_purge(struct storage *st, int64_t now_us, size_t *ret_n, struct error *err)
{
    return st->ops->logs_purge(st, now_us, ret_n, err);
}

int storage_logs_range(struct storage *st, int64_t start_us, int64_t end_us,
                       struct json_object *filter, struct storage_log_cursor **ret,
                       struct error *err)
{
    int result = st->ops->logs_range(st, start_us, end_us, filter, ret, err);
    if (!result)
        (*ret)->ops = st->ops;
    return result;
}

int storage_logs_next(struct storage_log_cursor *cursor, struct storage_log *ret, struct error *err)
{
    return cursor->ops->logs_next(cursor, ret, err);
}

void storage_logs_cursor_close(struct storage_log_cursor *cursor)
{
    if (cursor)
        cursor->ops->logs_cursor_close(cursor);
}

void storage_get_stats(struct storage *st, struct storage_stats *ret)
{
    *ret = (struct storage_stats){0};
    st->ops->get_stats(st, ret);
}

int storage_ping(struct storage *st, struct error *err)
{
    return st->ops->ping(st, err);
}

bool storage_shared(const struct storage *st)
{
    return st->ops->shared;
}

uint64_t storage_origin(const struct storage *st)
{
    return st->origin;
}

uint64_t storage_epoch(const struct storage *st)
{
    return st->epoch;
}
