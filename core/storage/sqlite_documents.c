/* Topics and unitops: one JSON text a row. */
#include "storage/filter.h"
#include "storage/sqlite_priv.h"

#include "base/auto.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum {
    DOCUMENT_MAX = 4 * 1024 * 1024,
    WINDOW_DOCUMENTS = 64, /* read at a time by find */
};

static const char *const collection_names[] = {
    [STORAGE_TOPICS] = "topics",
    [STORAGE_UNITOPS] = "unitops",
};

/* --- writing --- */

struct save {
    struct write_request request;
    enum storage_collection collection;
    const char *key;
    const struct buf *text;
    int64_t modified_at_us;
    bool inserted;
};

int document_writer_init(struct sqlite_storage *sq, struct error *err)
{
    int result = db_prepare(sq->db, "INSERT OR REPLACE INTO documents VALUES(?1, ?2, ?3, ?4)",
                            &sq->save_document, err);
    if (!result)
        result = db_prepare(sq->db, "SELECT 1 FROM documents WHERE collection = ?1 AND key = ?2",
                            &sq->has_document, err);
    return result;
}

void document_writer_release(struct sqlite_storage *sq)
{
    sqlite3_finalize(sq->save_document);
    sqlite3_finalize(sq->has_document);
}

static void bind_document(sqlite3_stmt *stmt, enum storage_collection c, const char *key)
{
    sqlite3_bind_text(stmt, 1, collection_names[c], -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, key, -1, SQLITE_STATIC);
}

static int apply_save(struct sqlite_storage *sq, struct write_request *request, struct error *err)
{
    struct save *s = (struct save *)request; /* its first member */
    bind_document(sq->has_document, s->collection, s->key);
    int rc = sqlite3_step(sq->has_document);
    s->inserted = rc == SQLITE_DONE;
    sqlite3_reset(sq->has_document);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return db_error(sq->db, rc, err, "cannot read the documents");
    bind_document(sq->save_document, s->collection, s->key);
    sqlite3_bind_text64(sq->save_document, 3, s->text->data, s->text->len, SQLITE_STATIC,
                        SQLITE_UTF8);
    sqlite3_bind_int64(sq->save_document, 4, s->modified_at_us);
    return db_run(sq->save_document, err);
}

int sqlite_document_save(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object *document, bool *ret_inserted, struct error *err)
{
    AUTO(buf) text = BUF_INIT(DOCUMENT_MAX);
    int result = json_write_value(&text, document);
    if (result)
        return error_set(err, result, "document '%s' is too large to store", key);
    struct save s = {
        .request = {.apply = apply_save},
        .collection = c,
        .key = key,
        .text = &text,
        .modified_at_us = json_get_int(document, "modified_at", 0),
    };
    result = writer_submit(sqlite_of(st), &s.request, INT64_MAX, err);
    if (!result && ret_inserted)
        *ret_inserted = s.inserted;
    return result;
}

/* --- reading --- */

static int parse_document(const char *key, const char *text, size_t len, struct json_object **ret,
                          struct error *err)
{
    if (!text)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    int result = json_parse(text, len, ret, err);
    if (result == ERR_INVALID) {
        error_prefix(err, "stored document '%s' is damaged", key);
        return err ? err->code = ERR_CORRUPT : ERR_CORRUPT;
    }
    return result;
}

static int read_document(struct reader *reader, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err)
{
    sqlite3_stmt *stmt;
    int result = reader_statement(reader, READ_DOCUMENT, &stmt, err);
    if (result)
        return result;
    bind_document(stmt, c, key);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        result = parse_document(key, (const char *)sqlite3_column_text(stmt, 0),
                                (size_t)sqlite3_column_bytes(stmt, 0), ret, err);
    else if (rc == SQLITE_DONE)
        result = error_set(err, ERR_NOT_FOUND, "'%s' not found", key);
    else
        result = reader_error(reader, rc, err);
    sqlite3_reset(stmt);
    return result;
}

int sqlite_document_get(struct storage *st, enum storage_collection c, const char *key,
                        struct json_object **ret, struct error *err)
{
    struct reader *reader;
    int result = reader_acquire(sqlite_of(st), &reader, err);
    if (result)
        return result;
    result = read_document(reader, c, key, ret, err);
    reader_return(sqlite_of(st), reader);
    return result;
}

/* --- finding --- */

/* A window: documents copied out of the read transaction. */
struct window {
    size_t n;
    struct {
        char *key;
        struct json_object *document;
    } rows[WINDOW_DOCUMENTS];
};

static void window_clear(struct window *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->rows[i].key);
        json_object_put(w->rows[i].document);
    }
    w->n = 0;
}

static int read_window(struct reader *reader, enum storage_collection c, const char *after,
                       struct window *w, struct error *err)
{
    sqlite3_stmt *stmt;
    int rc = SQLITE_DONE;
    int result = reader_statement(reader, READ_DOCUMENTS, &stmt, err);
    if (result)
        return result;
    bind_document(stmt, c, after);
    sqlite3_bind_int(stmt, 3, WINDOW_DOCUMENTS);
    while (!result && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(stmt, 0);
        char *copy = key ? strdup(key) : NULL;
        if (!copy) {
            result = error_set(err, ERR_NOMEM, "storage: out of memory");
            break;
        }
        w->rows[w->n].key = copy;
        w->rows[w->n].document = NULL;
        result =
            parse_document(copy, (const char *)sqlite3_column_text(stmt, 1),
                           (size_t)sqlite3_column_bytes(stmt, 1), &w->rows[w->n].document, err);
        w->n++;
    }
    if (!result && rc != SQLITE_DONE)
        result = reader_error(reader, rc, err);
    sqlite3_reset(stmt);
    return result;
}

/* 1: go on, 0: the caller has enough, negative. */
static int hand_out(const struct window *w, struct filter *filter, storage_document_fn *each,
                    void *ctx, struct error *err)
{
    for (size_t i = 0; i < w->n; i++) {
        int wanted = filter ? filter_match(filter, w->rows[i].document, err) : 1;
        if (wanted < 0)
            return wanted;
        if (wanted && !each(ctx, w->rows[i].key, w->rows[i].document))
            return 0;
    }
    return 1;
}

static int find_windows(struct sqlite_storage *sq, enum storage_collection c, struct filter *filter,
                        struct window *w, storage_document_fn *each, void *ctx, struct error *err)
{
    char *after = strdup("");
    int result = after ? 1 : error_set(err, ERR_NOMEM, "storage: out of memory");
    while (result > 0) {
        struct reader *reader;
        result = reader_acquire(sq, &reader, err);
        if (result)
            break;
        result = read_window(reader, c, after, w, err);
        reader_return(sq, reader);
        if (!result)
            result = hand_out(w, filter, each, ctx, err);
        if (w->n < WINDOW_DOCUMENTS)
            result = result < 0 ? result : 0;
        if (result > 0) {
            free(after);
            after = w->rows[w->n - 1].key;
            w->rows[w->n - 1].key = NULL;
        }
        window_clear(w);
    }
    free(after);
    return result;
}

int sqlite_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                         storage_document_fn *each, void *ctx, struct error *err)
{
    struct filter *compiled = NULL;
    struct window *w = calloc(1, sizeof *w);
    int result = w ? 0 : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (!result && filter)
        result = filter_new(filter, &compiled, err);
    if (!result)
        result = find_windows(sqlite_of(st), c, compiled, w, each, ctx, err);
    filter_free(compiled);
    free(w);
    return result;
}
