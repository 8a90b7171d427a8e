#include "reader_priv.h"

#include <hyprxa/helpers.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVE_WAIT_MS = 1000 };

struct reader *reader_new(const struct csv_options *options, struct csv_counters *counters)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    r->options = options;
    r->counters = counters;
    r->watch.fd = -1;
    if (!inbox_init(&r->inbox)) {
        reader_free(r);
        return NULL;
    }
    return r;
}

void reader_free(struct reader *r)
{
    if (r) {
        for (size_t i = 0; i < r->n_items; i++) {
            item_free(r->items[i]);
        }
        free(r->items);
        inbox_release(&r->inbox);
        free(r);
    }
}

hyprxa_status reader_add(struct reader *r, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    struct change *first = NULL, **last = &first;
    for (size_t i = 0; i < n; i++) {
        struct item *item = item_new(subs[i]);
        *last = item ? change_new(item, NULL) : NULL;
        if (!*last) {
            item_free(item);
            changes_free(first);
            return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        }
        last = &(*last)->next;
    }
    inbox_put(&r->inbox, first);
    return HYPRXA_OK;
}

void reader_remove(struct reader *r, hyprxa_subs subs, size_t n)
{
    struct change *first = NULL, **last = &first;
    for (size_t i = 0; i < n; i++) {
        *last = change_new(NULL, subs[i]);
        if (!*last) {
            break; /* it stays; the host leaves out what is published for it */
        }
        last = &(*last)->next;
    }
    inbox_put(&r->inbox, first);
}

/* --- subscriptions that come and go --- */

static void settled_key(char key[STATE_KEY_SIZE], const struct item *item)
{
    snprintf(key, STATE_KEY_SIZE, "since/%016" PRIx64, item->key);
}

static hyprxa_status item_comes(struct reader *r, struct item *item)
{
    char key[STATE_KEY_SIZE];
    size_t len;
    if (r->n_items == r->items_room) {
        size_t room = r->items_room ? r->items_room * 2 : 16;
        struct item **grown = realloc(r->items, room * sizeof(*grown));
        if (!grown) {
            return HYPRXA_E_NOMEM;
        }
        r->items = grown;
        r->items_room = room;
    }
    r->items[r->n_items++] = item;
    if (!r->options->start_at_end) {
        item->settled = true;
        return HYPRXA_OK;
    }
    settled_key(key, item);
    hyprxa_status status = r->link->host->state_get(r->link, key, NULL, 0, &len);
    item->settled = status == HYPRXA_OK || status == HYPRXA_E_CAPACITY;
    return item->settled || status == HYPRXA_E_NOT_FOUND ? HYPRXA_OK : status;
}

static void item_leaves(struct reader *r, const struct hyprxa_subscription *subscription)
{
    for (size_t i = 0; i < r->n_items; i++) {
        struct item *item = r->items[i];
        if (item->subscription != subscription) {
            continue;
        }
        for (size_t k = 0; k < r->n_files; k++) {
            positions_leave(&r->files[k]->positions, item);
            r->files[k]->n_adopted -= i < r->files[k]->n_adopted ? 1 : 0;
        }
        r->n_items--;
        memmove(&r->items[i], &r->items[i + 1], (r->n_items - i) * sizeof(r->items[0]));
        item_free(item);
        return;
    }
}

/* Open what is not open, look up positions, place the items that are not placed yet. */
static hyprxa_status prepare_files(struct reader *r, struct hyprxa_error *err)
{
    hyprxa_status status = HYPRXA_OK;
    for (size_t i = 0; i < r->n_files && status == HYPRXA_OK; i++) {
        struct csv_file *f = r->files[i];
        if (!f->loaded || f->n_adopted < r->n_items) {
            follow_prepare(r, f, &status, err);
        }
        if (r->n_open > OPEN_MAX_FILES && !f->gone) {
            follow_close(r, f);
        }
    }
    return status;
}

/* Items that start at the end have been placed in every file that was there: from now on a file without
 * a place for them is a new one.  The places are saved before the word that they are. */
static hyprxa_status settle_items(struct reader *r)
{
    hyprxa_status status = HYPRXA_OK;
    bool settled = true;
    for (size_t i = 0; i < r->n_items; i++) {
        settled = settled && r->items[i]->settled;
    }
    for (size_t i = 0; i < r->n_files && !settled && status == HYPRXA_OK; i++) {
        if (r->files[i]->header == HEADER_READ) {
            status = pump_save(&r->pump, r->files[i]);
        }
    }
    for (size_t i = 0; i < r->n_items && status == HYPRXA_OK; i++) {
        if (!r->items[i]->settled) {
            char key[STATE_KEY_SIZE];
            settled_key(key, r->items[i]);
            status = r->link->host->state_set(r->link, key, "1", 1);
            r->items[i]->settled = status == HYPRXA_OK;
        }
    }
    return status;
}

static hyprxa_status take_changes(struct reader *r, struct hyprxa_error *err)
{
    struct change *change = inbox_take(&r->inbox);
    hyprxa_status status = HYPRXA_OK;
    if (!change) {
        return HYPRXA_OK;
    }
    while (change) {
        struct change *next = change->next;
        hyprxa_status one = HYPRXA_OK;
        if (change->leaves) {
            item_leaves(r, change->leaves);
        } else {
            one = item_comes(r, change->comes);
            if (one == HYPRXA_E_NOMEM) {
                item_free(change->comes);
            }
        }
        status = status == HYPRXA_OK ? one : status;
        free(change);
        change = next;
    }
    if (status != HYPRXA_OK) {
        return hyprxa_error_set(err, status, "a subscription could not be taken (%d)", (int)status);
    }
    status = prepare_files(r, err);
    return status == HYPRXA_OK ? settle_items(r) : status;
}

/* --- reading --- */

/* Wait for the word, under way already, that subscriptions have ended. */
static void await_inbox(const struct reader *r)
{
    struct pollfd fds[2] = {{.fd = r->link->host->stop_fd(r->link), .events = POLLIN},
                            {.fd = r->inbox.wake_fd, .events = POLLIN}};
    poll(fds, 2, LEAVE_WAIT_MS);
}

/* One step of `c`, with what its outcome means for the file.  *ret_moved: there may be more. */
static hyprxa_status step(struct reader *r, struct csv_file *f, struct cursor *c, bool *ret_moved,
                          struct hyprxa_error *err)
{
    hyprxa_status status = HYPRXA_OK;
    *ret_moved = false;
    switch (pump_step(&r->pump, f, c, err)) {
    case PUMP_MORE:
        *ret_moved = true;
        f->gone_until_ms = monotonic_ms() + GONE_LINGER_MS;
        break;
    case PUMP_DRY:
        break;
    case PUMP_REWRITTEN:
        *ret_moved = follow_restart(r, f, &status, err) && follow_prepare(r, f, &status, err);
        break;
    case PUMP_LEAVING:
        await_inbox(r);
        *ret_moved = true;
        break;
    case PUMP_AWAY:
        hyprxa_log(r->link->ctx, HYPRXA_LOG_ERROR, "%s: %s", f->path, strerror(errno));
        f->told_away = true;
        follow_close(r, f);
        break;
    case PUMP_STOP:
        return HYPRXA_E_CANCELED;
    case PUMP_FAILED:
        return err->code ? err->code : HYPRXA_E_SOURCE;
    }
    return status;
}

/* Read on in the files that may have more, each to its end.  Returns early when subscriptions change. */
static hyprxa_status read_fronts(struct reader *r, struct hyprxa_error *err)
{
    hyprxa_status status = HYPRXA_OK;
    for (size_t i = 0; i < r->n_files && status == HYPRXA_OK; i++) {
        struct csv_file *f = r->files[i];
        if (!f->dirty) {
            continue;
        }
        bool more = follow_prepare(r, f, &status, err);
        while (more && status == HYPRXA_OK) {
            if (atomic_load(&r->inbox.waiting)) {
                return HYPRXA_OK;
            }
            struct cursor *front = positions_front(&f->positions);
            if (!front) {
                break;
            }
            status = step(r, f, front, &more, err);
            f->rear_dry = f->rear_dry && !more;
        }
        f->dirty = false;
        if (r->n_open > OPEN_MAX_FILES && !f->gone) {
            follow_close(r, f);
        }
    }
    return status;
}

/* Let one subscription that is behind catch up by a block.  *ret_moved: one did. */
static hyprxa_status read_rear(struct reader *r, bool *ret_moved, struct hyprxa_error *err)
{
    hyprxa_status status = HYPRXA_OK;
    *ret_moved = false;
    for (size_t i = 0; i < r->n_files && !*ret_moved && status == HYPRXA_OK; i++) {
        struct csv_file *f = r->files[i];
        struct cursor *rear = positions_rear(&f->positions);
        if (f->rear_dry || !rear || rear == positions_front(&f->positions)) {
            continue;
        }
        if (follow_prepare(r, f, &status, err) && (rear = positions_rear(&f->positions)) != NULL) {
            status = step(r, f, rear, ret_moved, err);
        }
        f->rear_dry = !*ret_moved;
    }
    return status;
}

/* --- waiting --- */

static void file_was_written(void *ctx, const char *name)
{
    struct reader *r = ctx;
    bool known = false;
    for (size_t i = 0; i < r->n_files; i++) {
        struct csv_file *f = r->files[i];
        if (!name || strcmp(f->name, name) == 0) {
            f->dirty = true;
            known = true;
        }
    }
    for (size_t i = 0; i < r->n_files && !known; i++) {
        /* Its name may be one that a renamed file has now. */
        r->files[i]->dirty = r->files[i]->dirty || r->files[i]->gone;
    }
}

/* True when asked to stop. */
static bool await_change(struct reader *r, bool at_once, int64_t next_poll_ms)
{
    int64_t left = next_poll_ms - monotonic_ms();
    int stop_fd = r->link->host->stop_fd(r->link);
    struct pollfd fds[3] = {{.fd = stop_fd, .events = POLLIN},
                            {.fd = r->inbox.wake_fd, .events = POLLIN},
                            {.fd = r->watch.fd, .events = POLLIN}};
    int timeout = at_once || left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
    if (stop_fd < 0 && timeout > 100) {
        timeout = 100; /* no descriptor to wait for: look now and then */
    }
    poll(fds, 3, timeout);
    return r->link->host->wait(r->link, 0);
}

static void watch_paths(struct reader *r)
{
    if (!watch_folders(&r->watch, r->options->path) && !r->told_watch) {
        hyprxa_log(r->link->ctx, HYPRXA_LOG_WARNING,
                   "no word of changes to '%s' from the system: looking every %" PRId64 " ms",
                   r->options->path, r->options->poll_ms);
        r->told_watch = true;
    }
}

static hyprxa_status follow(struct reader *r, struct hyprxa_error *err)
{
    int64_t next_poll_ms = 0;
    bool moved = false;
    for (;;) {
        hyprxa_status status = HYPRXA_OK;
        if (monotonic_ms() >= next_poll_ms) {
            next_poll_ms = monotonic_ms() + r->options->poll_ms;
            watch_paths(r);
            r->rescan = true;
            for (size_t i = 0; i < r->n_files; i++) {
                r->files[i]->dirty = r->files[i]->dirty || r->files[i]->gone;
            }
        }
        for (int i = 0; i < 2 && r->rescan && status == HYPRXA_OK;
             i++) { /* preparing may ask again */
            r->rescan = false;
            status = follow_scan(r, err);
            status = status == HYPRXA_OK ? prepare_files(r, err) : status;
        }
        if (status == HYPRXA_OK) {
            status = take_changes(r, err);
        }
        if (status == HYPRXA_OK && !r->rescan) {
            status = read_fronts(r, err);
        }
        if (status == HYPRXA_OK) {
            status = read_rear(r, &moved, err);
        }
        if (status == HYPRXA_OK) {
            status = follow_drop_gone(r);
        }
        if (status != HYPRXA_OK) {
            return status;
        }
        report_rest(&r->report, false);
        if (await_change(r, moved || r->rescan, next_poll_ms)) {
            return HYPRXA_OK;
        }
        r->rescan = watch_read(&r->watch, file_was_written, r) || r->rescan;
    }
}

hyprxa_status reader_run(struct reader *r, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct hyprxa_error own = {.size = sizeof(own)};
    hyprxa_status status = HYPRXA_E_NOMEM;
    r->link = link;
    r->report = (struct report){.ctx = link->ctx, .counters = r->counters};
    for (size_t i = 0; i < r->n_items; i++) {
        item_clear(r->items[i], false);
    }
    if (pump_init(&r->pump, link, r->options, &r->report)) {
        watch_init(&r->watch);
        status = follow(r, &own);
    }
    report_rest(&r->report, true);
    follow_release(r);
    watch_release(&r->watch);
    pump_release(&r->pump);
    if (status == HYPRXA_OK || status == HYPRXA_E_CANCELED) {
        return HYPRXA_OK;
    }
    return hyprxa_error_set(err, status, "%s", own.code ? own.message : "out of memory");
}
