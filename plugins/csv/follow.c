#include "reader_priv.h"

#include <hyprxa/helpers.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 64 }; /* files remembered for one path */

struct file_id {
    dev_t dev;
    ino_t ino;
};

/* --- the saved state --- */

hyprxa_status follow_state(struct reader *r, const char *key, void **ret, size_t *ret_len)
{
    const struct hyprxa_host *host = r->link->host;
    char *bytes = NULL;
    size_t len = 0;
    hyprxa_status status = host->state_get(r->link, key, NULL, 0, &len);
    *ret = NULL;
    *ret_len = 0;
    if (status == HYPRXA_OK || status == HYPRXA_E_CAPACITY) {
        bytes = malloc(len + 1);
        if (!bytes) {
            return HYPRXA_E_NOMEM;
        }
        status = host->state_get(r->link, key, bytes, len, &len);
    }
    if (status != HYPRXA_OK) {
        free(bytes);
        return status;
    }
    bytes[len] = '\0';
    *ret = bytes;
    *ret_len = len;
    return HYPRXA_OK;
}

static void path_key(char key[STATE_KEY_SIZE], const char *path)
{
    snprintf(key, STATE_KEY_SIZE, "path/%016" PRIx64, digest_bytes(path, strlen(path)));
}

/* The files that were followed under `path`: the one there last, then those not read to their end. */
static hyprxa_status load_ids(struct reader *r, const char *path, struct file_id *ids,
                              size_t *ret_n)
{
    char key[STATE_KEY_SIZE];
    void *text;
    size_t len;
    *ret_n = 0;
    path_key(key, path);
    hyprxa_status status = follow_state(r, key, &text, &len);
    if (status != HYPRXA_OK) {
        return status == HYPRXA_E_NOT_FOUND ? HYPRXA_OK : status;
    }
    uintmax_t dev, ino;
    int n;
    for (const char *at = text; *ret_n < IDS_MAX && sscanf(at, "%jx-%jx %n", &dev, &ino, &n) == 2;
         at += n) {
        ids[(*ret_n)++] = (struct file_id){(dev_t)dev, (ino_t)ino};
    }
    free(text);
    return HYPRXA_OK;
}

static hyprxa_status save_ids(struct reader *r, const char *path)
{
    char key[STATE_KEY_SIZE], text[IDS_MAX * 40] = "";
    size_t used = 0, n = 0;
    path_key(key, path);
    for (int gone = 0; gone <= 1; gone++) {
        for (size_t i = r->n_files; i > 0 && n < IDS_MAX; i--) { /* the newest are not read yet */
            const struct csv_file *f = r->files[i - 1];
            if (f->gone == (gone == 1) && strcmp(f->path, path) == 0) {
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%jx-%jx ",
                                         (uintmax_t)f->dev, (uintmax_t)f->ino);
                n++;
            }
        }
    }
    return r->link->host->state_set(r->link, key, text, used);
}

/* --- the list of files --- */

static struct csv_file *find_file(const struct reader *r, dev_t dev, ino_t ino)
{
    for (size_t i = 0; i < r->n_files; i++) {
        if (r->files[i]->ino == ino && r->files[i]->dev == dev) {
            return r->files[i];
        }
    }
    return NULL;
}

static struct csv_file *add_file(struct reader *r, const char *path, const struct stat *st)
{
    if (r->n_files == r->files_room) {
        size_t room = r->files_room ? r->files_room * 2 : 16;
        struct csv_file **grown = realloc(r->files, room * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        r->files = grown;
        r->files_room = room;
    }
    struct csv_file *f = csv_file_new(path, st);
    if (f) {
        r->files[r->n_files++] = f;
        atomic_store(&r->counters->files, r->n_files);
    }
    return f;
}

void follow_close(struct reader *r, struct csv_file *f)
{
    if (f->fd >= 0) {
        csv_file_close(f);
        r->n_open--;
    }
}

static bool open_file(struct reader *r, struct csv_file *f, const char *path)
{
    if (f->fd >= 0) {
        return true;
    }
    bool done = csv_file_open(f, path);
    if (!done && f->gone) { /* renamed while it was closed */
        char *renamed = scan_for_inode(f->path, f->dev, f->ino);
        done = renamed && csv_file_open(f, renamed);
        free(renamed);
    }
    r->n_open += done ? 1 : 0;
    return done;
}

/* Gone files first, then the oldest: the order in which their rows were written. */
static int by_age(const void *a, const void *b)
{
    const struct csv_file *x = *(struct csv_file *const *)a, *y = *(struct csv_file *const *)b;
    if (x->gone != y->gone) {
        return x->gone ? -1 : 1;
    }
    if (x->first_mtime_ns != y->first_mtime_ns) {
        return x->first_mtime_ns < y->first_mtime_ns ? -1 : 1;
    }
    return strcmp(x->path, y->path);
}

static bool was_changed(const struct stat *before, const struct stat *now)
{
    return before->st_size != now->st_size || before->st_mtim.tv_sec != now->st_mtim.tv_sec ||
           before->st_mtim.tv_nsec != now->st_mtim.tv_nsec ||
           before->st_ctim.tv_sec != now->st_ctim.tv_sec ||
           before->st_ctim.tv_nsec != now->st_ctim.tv_nsec;
}

/* A path of the scan: known, renamed, or new. */
static hyprxa_status see_path(struct reader *r, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return HYPRXA_OK;
    }
    struct csv_file *f = find_file(r, st.st_dev, st.st_ino);
    if (!f) {
        f = add_file(r, path, &st);
        if (!f) {
            return HYPRXA_E_NOMEM;
        }
    } else if (!f->seen) {
        bool renamed = strcmp(f->path, path) != 0;
        if (renamed) {
            hyprxa_log(r->link->ctx, HYPRXA_LOG_INFO, "%s is now %s", f->path, path);
            if (!csv_file_rename(f, path)) {
                return HYPRXA_E_NOMEM;
            }
        }
        f->dirty = f->dirty || f->told_away || was_changed(&f->scanned, &st);
        f->scanned = st;
        f->gone = false;
        if (renamed && f->loaded) {
            f->seen = true;
            return save_ids(r, path);
        }
    }
    f->seen = true;
    return HYPRXA_OK;
}

hyprxa_status follow_scan(struct reader *r, struct hyprxa_error *err)
{
    struct path_list list;
    hyprxa_status status = HYPRXA_OK;
    if (!scan_paths(r->options->path, &list)) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < r->n_files; i++) {
        r->files[i]->seen = false;
    }
    for (size_t i = 0; i < list.n && status == HYPRXA_OK; i++) {
        status = see_path(r, list.paths[i]);
    }
    for (size_t i = 0; i < r->n_files && status == HYPRXA_OK; i++) {
        struct csv_file *f = r->files[i];
        if (!f->seen && !f->gone) {
            f->gone = f->dirty = true;
            f->gone_until_ms = monotonic_ms() + GONE_LINGER_MS;
        }
    }
    if (r->n_files > 0) {
        qsort(r->files, r->n_files, sizeof(*r->files), by_age);
    }
    if (list.n == 0 && !r->told_none) {
        hyprxa_log(r->link->ctx, HYPRXA_LOG_WARNING, "no file matches '%s' yet", r->options->path);
        r->told_none = true;
    }
    path_list_release(&list);
    if (status != HYPRXA_OK && status != HYPRXA_E_CANCELED) {
        hyprxa_error_set(err, status, "the files could not be listed (%d)", (int)status);
    }
    return status;
}

/* --- positions of a file seen for the first time --- */

/* Take the positions saved for `id`, if they were taken in a file with these bytes. */
static hyprxa_status take_positions(struct reader *r, struct csv_file *f, struct file_id id,
                                    bool *ret_taken)
{
    char key[STATE_KEY_SIZE];
    void *bytes;
    size_t len;
    struct mark head;
    struct positions positions;
    pump_state_key(key, id.dev, id.ino);
    hyprxa_status status = follow_state(r, key, &bytes, &len);
    *ret_taken = false;
    if (status != HYPRXA_OK) {
        return status == HYPRXA_E_NOT_FOUND ? HYPRXA_OK : status;
    }
    if (positions_decode(bytes, len, &head, &positions)) {
        if (csv_file_matches(f, &head, &positions)) {
            f->positions = positions;
            *ret_taken = true;
        } else {
            positions_release(&positions);
        }
    }
    free(bytes);
    return HYPRXA_OK;
}

/* The file `id` was followed under f's path and is no longer there: read its rest, if it can be found. */
static hyprxa_status find_rotated(struct reader *r, const struct csv_file *f, struct file_id id)
{
    struct stat st;
    if (find_file(r, id.dev, id.ino)) {
        return HYPRXA_OK; /* the scan found it under another name */
    }
    char *path = scan_for_inode(f->path, id.dev, id.ino);
    if (!path || stat(path, &st) != 0 || st.st_dev != id.dev || st.st_ino != id.ino) {
        free(path);
        return HYPRXA_OK;
    }
    struct csv_file *rotated = add_file(r, f->path, &st);
    if (!rotated) {
        free(path);
        return HYPRXA_E_NOMEM;
    }
    rotated->gone = true;
    rotated->gone_until_ms = monotonic_ms() + GONE_LINGER_MS;
    if (open_file(r, rotated, path)) {
        hyprxa_log(r->link->ctx, HYPRXA_LOG_INFO, "%s was renamed to %s: reading its rest", f->path,
                   path);
    }
    free(path);
    r->rescan = true; /* puts it into its place in the order */
    return HYPRXA_OK;
}

static hyprxa_status load_positions(struct reader *r, struct csv_file *f)
{
    struct file_id ids[IDS_MAX], own = {f->dev, f->ino};
    size_t n = 0;
    bool taken, is_first = false;
    hyprxa_status status = take_positions(r, f, own, &taken);
    if (status == HYPRXA_OK) {
        status = load_ids(r, f->path, ids, &n);
    }
    for (size_t i = 0; i < n && status == HYPRXA_OK; i++) {
        if (ids[i].dev == own.dev && ids[i].ino == own.ino) {
            is_first = i == 0;
            continue;
        }
        if (!taken) { /* written anew with the same rows in front, or the device has a new number */
            status = take_positions(r, f, ids[i], &taken);
            if (taken) {
                continue;
            }
        }
        if (status == HYPRXA_OK && !f->gone) {
            status = find_rotated(r, f, ids[i]);
        }
    }
    if (status == HYPRXA_OK && !is_first && !f->gone) {
        status = save_ids(r, f->path);
    }
    return status;
}

/* --- placing items --- */

static bool place_item(struct reader *r, struct csv_file *f, struct item *item)
{
    struct cursor place;
    size_t field;
    if (!csv_file_column(f, item->column, &field)) {
        return true;
    }
    if (positions_join(&f->positions, item)) {
        f->dirty = true;
        return true;
    }
    if (!item_wants(item, f->name)) {
        return true;
    }
    if (!r->options->start_at_end || item->settled || !csv_file_end(f, &place)) {
        csv_file_start(f, &place);
    }
    f->dirty = true;
    f->rear_dry = false;
    return positions_place(&f->positions, &place, item->key, item);
}

static bool place_items(struct reader *r, struct csv_file *f)
{
    for (; f->n_adopted < r->n_items; f->n_adopted++) {
        if (!place_item(r, f, r->items[f->n_adopted])) {
            return false;
        }
    }
    return true;
}

static bool read_header(struct reader *r, struct csv_file *f)
{
    char message[300];
    if (f->header == HEADER_AWAITED) {
        const char *problem = csv_file_read_header(f, r->options, message, sizeof(message));
        const struct cursor *frontier = positions_frontier(&f->positions);
        if (problem) {
            hyprxa_log(r->link->ctx, HYPRXA_LOG_ERROR, "%s: %s", f->path, problem);
        }
        if (f->header == HEADER_READ && frontier && frontier->offset < f->header_end) {
            struct cursor start; /* it began anew */
            csv_file_start(f, &start);
            if (!positions_reset(&f->positions, &start)) {
                f->header = HEADER_AWAITED;
            }
        }
    }
    return f->header == HEADER_READ;
}

bool follow_restart(struct reader *r, struct csv_file *f, hyprxa_status *ret_status,
                    struct hyprxa_error *err)
{
    if (!csv_file_restart(f)) {
        *ret_status = hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        return false;
    }
    atomic_fetch_add(&r->counters->restarts, 1);
    hyprxa_log(r->link->ctx, HYPRXA_LOG_INFO, "%s was written anew: reading it from its start",
               f->path);
    return true;
}

bool follow_prepare(struct reader *r, struct csv_file *f, hyprxa_status *ret_status,
                    struct hyprxa_error *err)
{
    *ret_status = HYPRXA_OK;
    if (!open_file(r, f, f->path)) {
        if (!f->told_away && errno != ENOENT) {
            hyprxa_log(r->link->ctx, HYPRXA_LOG_ERROR, "%s: %s", f->path, strerror(errno));
        }
        f->told_away = true;
        return false;
    }
    f->told_away = false;
    if (!f->loaded) {
        *ret_status = load_positions(r, f);
        if (*ret_status != HYPRXA_OK) {
            hyprxa_error_set(err, *ret_status, "%s: its saved position could not be read", f->path);
            return false;
        }
        f->loaded = true;
    }
    if (csv_file_is_new(f) && !follow_restart(r, f, ret_status, err)) {
        return false;
    }
    if (!read_header(r, f)) {
        return false;
    }
    if (!place_items(r, f)) {
        *ret_status = hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        return false;
    }
    return true;
}

/* --- files that are gone --- */

static void remove_file(struct reader *r, size_t at)
{
    struct csv_file *f = r->files[at];
    follow_close(r, f);
    csv_file_free(f);
    r->n_files--;
    memmove(&r->files[at], &r->files[at + 1], (r->n_files - at) * sizeof(r->files[0]));
    atomic_store(&r->counters->files, r->n_files);
}

hyprxa_status follow_drop_gone(struct reader *r)
{
    hyprxa_status status = HYPRXA_OK;
    for (size_t i = r->n_files; i > 0 && status == HYPRXA_OK; i--) {
        struct csv_file *f = r->files[i - 1];
        struct stat st;
        if (!f->gone || f->dirty) {
            continue;
        }
        bool deleted = f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_nlink == 0;
        if (f->fd >= 0 && monotonic_ms() < f->gone_until_ms) {
            continue;
        }
        if (deleted) { /* it cannot come back: its number may go to another file */
            char key[STATE_KEY_SIZE];
            pump_state_key(key, f->dev, f->ino);
            status = r->link->host->state_set(r->link, key, "", 0);
        }
        char *path = strdup(f->path);
        remove_file(r, i - 1);
        if (path && status == HYPRXA_OK) {
            status = save_ids(r, path);
        }
        free(path);
    }
    return status;
}

void follow_release(struct reader *r)
{
    while (r->n_files > 0) {
        remove_file(r, r->n_files - 1);
    }
    free(r->files);
    r->files = NULL;
    r->files_room = 0;
}
