#include "pump.h"

#include "value.h"

#include <hyprxa/helpers.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 256 * 1024,      /* read at a time, unless a row is longer */
    STEP_SAMPLES = 32 * 1024,     /* a step ends with the row that reaches this */
    STEP_BYTES = 1024 * 1024,     /* ... or this, of texts */
    CALL_SAMPLES = 50 * 1000,     /* one publish call carries no more, */
    CALL_BYTES = 8 * 1024 * 1024, /* ... half of the host's queue */
    SHOWN_MAX = 60,               /* characters of a bad field in a message */
};

bool pump_init(struct pump *p, struct hyprxa_link *link, const struct csv_options *options,
               struct report *report)
{
    *p = (struct pump){.link = link, .options = options, .report = report, .room = BLOCK_SIZE};
    p->block = malloc(p->room);
    p->scratch = malloc(p->room);
    return p->block && p->scratch;
}

void pump_release(struct pump *p)
{
    free(p->block);
    free(p->scratch);
    free(p->batches);
    row_release(&p->row);
    p->block = p->scratch = NULL;
    p->batches = NULL;
}

/* --- the state --- */

void pump_state_key(char key[STATE_KEY_SIZE], dev_t dev, ino_t ino)
{
    snprintf(key, STATE_KEY_SIZE, "file/%jx-%jx", (uintmax_t)dev, (uintmax_t)ino);
}

hyprxa_status pump_save(struct pump *p, const struct csv_file *f)
{
    char key[STATE_KEY_SIZE];
    void *bytes = NULL;
    size_t len = 0;
    if (!positions_encode(&f->positions, &f->head, &bytes, &len)) {
        return HYPRXA_E_NOMEM;
    }
    pump_state_key(key, f->dev, f->ino);
    hyprxa_status status = p->link->host->state_set(p->link, key, bytes, len);
    free(bytes);
    return status;
}

/* --- targets: which field goes to whom --- */

static int by_field(const void *a, const void *b)
{
    const struct target *x = a, *y = b;
    return x->field < y->field ? -1 : x->field > y->field;
}

static bool find_targets(const struct csv_file *f, struct cursor *c)
{
    if (c->has_targets) {
        return true;
    }
    struct target *targets = realloc(c->targets, (c->n_active + 1) * sizeof(*targets));
    if (!targets) {
        return false;
    }
    c->targets = targets;
    c->n_targets = 0;
    for (size_t i = 0; i < c->n_members; i++) {
        struct item *item = c->members[i].item;
        if (item && csv_file_column(f, item->column, &targets[c->n_targets].field)) {
            targets[c->n_targets++].item = item;
        }
    }
    qsort(targets, c->n_targets, sizeof(*targets), by_field);
    c->has_targets = true;
    return true;
}

/* --- publishing --- */

static hyprxa_status publish_call(struct pump *p, size_t n, bool live, struct hyprxa_error *err)
{
    const struct hyprxa_host *host = p->link->host;
    hyprxa_status status = live ? host->publish(p->link, p->batches, n, -1)
                                : host->publish_history(p->link, p->batches, n, -1);
    if (status == HYPRXA_E_ORDER && live) {
        /* Newer samples are known than we were told: what was refused is history. */
        status = host->publish_history(p->link, p->batches, n, -1);
    }
    if (status == HYPRXA_E_INVALID || status == HYPRXA_E_ORDER) {
        hyprxa_log(p->link->ctx, HYPRXA_LOG_ERROR, "samples were refused (%d)", (int)status);
        return HYPRXA_OK;
    }
    if (status != HYPRXA_OK && status != HYPRXA_E_CANCELED && status != HYPRXA_E_NOT_FOUND) {
        hyprxa_error_set(err, status, "publishing failed (%d)", (int)status);
    }
    return status;
}

/* Publish the live or the old samples of the cursor's items, in as few calls as the limits allow. */
static hyprxa_status publish_lists(struct pump *p, const struct cursor *c, bool live,
                                   struct hyprxa_error *err)
{
    size_t n = 0, samples = 0, bytes = 0;
    hyprxa_status status = HYPRXA_OK;
    for (size_t i = 0; i < c->n_targets && status == HYPRXA_OK; i++) {
        const struct item *item = c->targets[i].item;
        const struct sample_list *list = live ? &item->live : &item->old;
        if (list->n == 0) {
            continue;
        }
        if (n > 0 && (samples + list->n > CALL_SAMPLES || bytes + list->bytes > CALL_BYTES)) {
            status = publish_call(p, n, live, err);
            n = samples = bytes = 0;
        }
        p->batches[n++] = (struct hyprxa_batch){item->subscription, list->samples, list->n};
        samples += list->n;
        bytes += list->bytes;
    }
    return n > 0 && status == HYPRXA_OK ? publish_call(p, n, live, err) : status;
}

static hyprxa_status publish(struct pump *p, const struct cursor *c, struct hyprxa_error *err)
{
    if (p->n_samples == 0) {
        return HYPRXA_OK;
    }
    if (p->batches_room < c->n_targets) {
        struct hyprxa_batch *grown = realloc(p->batches, c->n_targets * sizeof(*grown));
        if (!grown) {
            return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        }
        p->batches = grown;
        p->batches_room = c->n_targets;
    }
    hyprxa_status status = publish_lists(p, c, true, err);
    return status == HYPRXA_OK ? publish_lists(p, c, false, err) : status;
}

/* --- rows --- */

static void unescape(struct pump *p, struct field *field)
{
    if (field->escaped) {
        field_unescape(field, p->scratch + p->scratch_used);
        p->scratch_used += field->len;
    }
}

/* What a step has found out about the place behind the rows it took. */
struct advance {
    const struct csv_file *file;
    struct cursor *cursor;
    int64_t before_us;
    uint64_t line;
};

static bool take_cell(struct pump *p, const struct advance *a, const struct target *target,
                      int64_t time_us)
{
    struct field *field = &p->row.fields[target->field];
    struct hyprxa_value value;
    if (field->len > FIELD_MAX) {
        report_malformed(p->report, a->file->path, a->line + 1,
                         "column '%s': a field of more than 64 KiB", target->item->column);
        return true;
    }
    unescape(p, field);
    switch (cell_read(field->text, field->len, &value)) {
    case CELL_EMPTY:
        break;
    case CELL_BAD:
        report_malformed(p->report, a->file->path, a->line + 1, "column '%s': not UTF-8",
                         target->item->column);
        break;
    case CELL_VALUE:
        p->n_samples++;
        p->bytes += value.len;
        return item_gather(target->item, time_us, &value);
    }
    return true;
}

/* Make samples of the row just parsed.  False: out of memory. */
static bool take_row(struct pump *p, struct advance *a)
{
    const struct csv_file *f = a->file;
    struct row *row = &p->row;
    int64_t time_us;
    if (row->n != f->n_columns) {
        report_malformed(p->report, f->path, a->line + 1, "%zu fields, the first line has %zu",
                         row->n, f->n_columns);
        return true;
    }
    struct field *stamp = &row->fields[f->timestamp_field];
    unescape(p, stamp);
    if (!timestamp_parse(&p->options->format, stamp->text, stamp->len, a->before_us, &time_us)) {
        int shown = stamp->len < SHOWN_MAX ? (int)stamp->len : SHOWN_MAX;
        report_malformed(p->report, f->path, a->line + 1, "'%.*s' is not a time in the format %s",
                         shown, stamp->text, p->options->pattern);
        return true;
    }
    a->before_us = time_us;
    atomic_fetch_add_explicit(&p->report->counters->rows, 1, memory_order_relaxed);
    for (size_t i = 0; i < a->cursor->n_targets; i++) {
        if (!take_cell(p, a, &a->cursor->targets[i], time_us)) {
            return false;
        }
    }
    return true;
}

/* Take complete rows from `at` on.  Returns where the first untaken one starts; NULL: no memory. */
static char *take_rows(struct pump *p, struct advance *a, char *at, char *end, int64_t limit)
{
    char *stop = limit < end - at ? at + limit : end;
    while (at < stop && p->n_samples < STEP_SAMPLES && p->bytes < STEP_BYTES) {
        switch (row_parse(&p->row, p->options->delimiter, at, end)) {
        case ROW_OK:
            if (!take_row(p, a)) {
                return NULL;
            }
            break;
        case ROW_BLANK:
            break;
        case ROW_INCOMPLETE:
            return at;
        case ROW_BAD:
            if (!p->row.next) {
                return at;
            }
            report_malformed(p->report, a->file->path, a->line + 1, "field %zu: %s",
                             p->row.problem_field, p->row.problem);
            break;
        case ROW_NO_MEMORY:
            return NULL;
        }
        a->line += p->row.lines;
        at = p->row.next;
    }
    return at;
}

/* The rest of a row that is too long: up to its line end, or all there is. */
static char *skip_line(struct cursor *c, struct advance *a, char *at, char *end)
{
    char *line_end = memchr(at, '\n', (size_t)(end - at));
    c->skipping = !line_end;
    a->line += line_end ? 1 : 0;
    return line_end ? line_end + 1 : end;
}

/* Read what lies behind the cursor, with the marked bytes before it.  Returns its length, or -1. */
static ssize_t read_block(struct pump *p, const struct csv_file *f, const struct cursor *c,
                          enum pump_result *ret)
{
    ssize_t n = read_at(f->fd, p->block, p->room, c->offset - c->mark.len);
    if (n < 0) {
        *ret = PUMP_AWAY;
        return -1;
    }
    if ((size_t)n < c->mark.len || digest_bytes(p->block, c->mark.len) != c->mark.digest) {
        *ret = PUMP_REWRITTEN;
        return -1;
    }
    return n - (ssize_t)c->mark.len;
}

/* For a row that is longer than the block. */
static bool grow_block(struct pump *p)
{
    char *block = realloc(p->block, p->room * 4);
    p->block = block ? block : p->block;
    char *scratch = realloc(p->scratch, p->room * 4);
    p->scratch = scratch ? scratch : p->scratch;
    if (!block || !scratch) {
        return false;
    }
    p->room *= 4;
    return true;
}

static void clear_items(struct pump *p, const struct cursor *c, bool published)
{
    for (size_t i = 0; i < c->n_targets && p->n_samples > 0; i++) {
        item_clear(c->targets[i].item, published);
    }
    p->n_samples = p->bytes = p->scratch_used = 0;
}

/* The samples are published: move the cursor by `len` bytes, whose last ones are before `end`. */
static bool move_cursor(struct csv_file *f, struct cursor *c, const struct advance *a, int64_t len,
                        const char *end)
{
    c = positions_part(&f->positions, c);
    if (!c) {
        return false;
    }
    c->offset += len;
    c->line = a->line;
    c->before_us = a->before_us;
    uint32_t marked = c->offset < MARK_MAX ? (uint32_t)c->offset : MARK_MAX;
    c->mark = (struct mark){marked, digest_bytes(end - marked, marked)};
    return positions_moved(&f->positions, c);
}

enum pump_result pump_step(struct pump *p, struct csv_file *f, struct cursor *c,
                           struct hyprxa_error *err)
{
    enum pump_result result = PUMP_DRY;
    struct advance a = {f, c, c->before_us, c->line};
    int64_t limit = positions_limit(&f->positions, c);
    char *begin, *at;
    if (!find_targets(f, c)) {
        goto no_memory;
    }
    for (;;) {
        ssize_t n = read_block(p, f, c, &result);
        if (n < 0) {
            return result;
        }
        begin = p->block + c->mark.len;
        at = c->skipping ? skip_line(c, &a, begin, begin + n) : begin;
        at = take_rows(p, &a, at, begin + n, limit - c->offset - (at - begin));
        if (!at) {
            goto no_memory;
        }
        if (at > begin || c->mark.len + (size_t)n < p->room) {
            break;
        }
        if (p->room >= ROW_MAX) {
            report_malformed(p->report, f->path, a.line + 1, "a row of more than %d MiB",
                             ROW_MAX / 1024 / 1024);
            at = skip_line(c, &a, begin, begin + n);
            break;
        }
        if (!grow_block(p)) {
            goto no_memory;
        }
    }
    if (at == begin) {
        return PUMP_DRY;
    }
    hyprxa_status status = publish(p, c, err);
    clear_items(p, c, status == HYPRXA_OK || status == HYPRXA_E_NOT_FOUND);
    if (status == HYPRXA_E_NOT_FOUND) {
        return PUMP_LEAVING; /* who leaves must not have passed rows that were not taken for it */
    }
    if (status != HYPRXA_OK) {
        return status == HYPRXA_E_CANCELED ? PUMP_STOP : PUMP_FAILED;
    }
    if (!move_cursor(f, c, &a, at - begin, at)) {
        goto no_memory_moved;
    }
    status = pump_save(p, f);
    if (status == HYPRXA_E_CANCELED) {
        return PUMP_STOP;
    }
    if (status != HYPRXA_OK) {
        hyprxa_error_set(err, status, "%s: its position could not be saved", f->path);
        return PUMP_FAILED;
    }
    return PUMP_MORE;
no_memory:
    clear_items(p, c, false);
no_memory_moved:
    hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    return PUMP_FAILED;
}
