/* Events from where a client left off: read back from storage, by number, of whatever topic. */
#include "base/auto.h"
#include "base/log.h"
#include "base/time.h"
#include "broker/broker.h"
#include "events/events_priv.h"
#include "storage/event_document.h"
#include "storage/storage.h"

#include <string.h>

static bool is_wanted(void *ctx, const char *full_key)
{
    return topic_match(ctx, full_key);
}

static bool is_ours(const struct event_replay *er, const struct resume *resume,
                    const struct storage_event_place *found)
{
    return resume->kind == RESUME_BEHIND && !resume->place.within &&
           resume->place.id.origin == storage_origin(er->storage) &&
           resume->place.id.epoch <= storage_epoch(er->storage) &&
           resume->place.id.sequence <= found->newest;
}

/* Is all that came behind the client's place still stored?  The event of that number itself may have
 * expired, or never have been: number 0 is the place before the first. */
static bool is_complete(const struct resume *resume, const struct storage_event_place *found)
{
    uint64_t sequence = resume->place.id.sequence;
    return found->stored || sequence == found->newest || found->oldest == sequence + 1;
}

/* Events behind the client's place are not stored any more: say so, and go on with the oldest after
 * it, or, where it is none of ours, with the next. */
static void find_gap(struct event_replay *er, bool ours, const struct storage_event_place *found,
                     uint64_t *after)
{
    if (!ours)
        *after = found->newest;
    er->goes_on.id =
        (struct message_id){storage_origin(er->storage), storage_epoch(er->storage), *after};
    er->gap = (struct replay_gap){
        .place = &er->goes_on,
        .from_us = INT64_MIN,
        .to_us = ours && found->oldest ? found->oldest_us : time_now_us(),
        .count = -1,
    };
}

/* Only what this node accepted is replayed: say that events of other nodes may be missing. */
static void tell_of_others(struct event_replay *er, int64_t from_us, uint64_t after)
{
    er->goes_on.id =
        (struct message_id){storage_origin(er->storage), storage_epoch(er->storage), after};
    er->gap = (struct replay_gap){&er->goes_on, from_us, time_now_us(), -1};
}

static int find_start(struct event_replay *er, const struct resume *resume, uint64_t *after,
                      struct error *err)
{
    struct storage_event_place found;
    if (resume->kind == RESUME_SINCE) {
        int rc = storage_event_since(er->storage, resume->since_us, after, err);
        if (!rc && er->others)
            tell_of_others(er, resume->since_us, *after);
        return rc;
    }
    int rc = storage_event_place(er->storage, &resume->place.id, &found, err);
    if (rc)
        return rc;
    bool ours = is_ours(er, resume, &found);
    *after = resume->place.id.sequence;
    if (!ours || !is_complete(resume, &found))
        find_gap(er, ours, &found, after);
    else if (er->others)
        tell_of_others(er, found.stored ? found.time_us : INT64_MIN, *after);
    return 0;
}

bool event_place(struct events *e, struct message_place *ret)
{
    static const struct message_id none;
    struct storage *st = e->options.storage;
    struct storage_event_place found;
    struct error err = ERROR_INIT;
    if (storage_event_place(st, &none, &found, &err)) {
        log_warning("hyprxa.events", "a stream begins without an id: %s", err.message);
        return false;
    }
    *ret = (struct message_place){.id = {storage_origin(st), storage_epoch(st), found.newest}};
    return true;
}

struct message *event_message(const struct storage_event_row *row)
{
    struct event_document doc = {.topic = row->topic,
                                 .routing_key = row->routing_key,
                                 .payload = row->payload,
                                 .payload_len = row->payload_len,
                                 .posted_by = row->posted_by,
                                 .time_us = row->time_us};
    AUTO(buf) text = BUF_INIT(event_document_size_max(&doc));
    return event_document_write(&text, &doc)
               ? NULL
               : message_new(&row->id, row->time_us, text.data, text.len);
}

static int add_event(struct replay *out, const struct storage_event_row *row)
{
    struct message *m = event_message(row);
    int rc = m ? replay_add(out, m) : ERR_NOMEM;
    message_unref(m);
    return rc;
}

static int next(void *ctx, struct replay *out, struct error *err)
{
    struct event_replay *er = ctx;
    struct storage_event_row row;
    uint64_t reached;
    int rc = er->gap.place ? replay_add_gap(out, &er->gap) : 0;
    er->gap.place = NULL;
    size_t start = out->bytes.len;
    while (!rc && out->bytes.len - start < REPLAY_PORTION) {
        int more = storage_event_next(er->cursor, &row, err);
        if (more < 0)
            return more;
        if (more == 0) {
            bool caught_up = storage_event_followed(er->cursor, &reached);
            out->reached = (struct message_id){storage_origin(er->storage),
                                               storage_epoch(er->storage), reached};
            return !caught_up;
        }
        rc = add_event(out, &row);
    }
    return rc ? error_set(err, rc, "out of memory for a replay") : 1;
}

int event_replay_open(struct events *e, char *key, const struct resume *resume,
                      struct event_replay *ret, struct error *err)
{
    uint64_t after = 0;
    bool since = resume->kind == RESUME_SINCE;
    *ret = (struct event_replay){.storage = e->options.storage,
                                 .others = e->relay && !e->options.alone};
    ret->stream = (struct stream_replay){next, ret};
    int rc = find_start(ret, resume, &after, err);
    return rc ? rc
              : storage_event_follow(ret->storage, after, since ? resume->since_us : INT64_MIN,
                                     is_wanted, key, &ret->cursor, err);
}

void event_replay_close(struct event_replay *er)
{
    storage_event_cursor_close(er->cursor);
}
