/* The store of series from the inside: what the files series*.c share.
 *
 * A sample goes queue -> head -> (log ->) chunk, and one thread, the writer, moves it:
 *
 *   queue   blocks as they came, guarded by queue_lock; an append is a push
 *   head    one per series, in memory: `fresh` is not saved yet, `old` is in the log
 *   log     a row of series.db per flush, with a part for each series that had few samples
 *   chunks  rows of one series each; samples leave the log for here, or come straight from the head
 *           when a flush finds many: a busy series is written once
 *
 * Chunks of a series with seq 0 cover disjoint spans of time.  Samples that come late into such a
 * span become an overlay: a chunk with the same `start` and seq > 0, wholly inside the span.  Several
 * overlays are folded into new chunks.  No (series, time) is in two chunks: the writer sees to it.
 *
 * Readers look the way the samples go, queue, heads, then a snapshot of the database, and so miss
 * nothing; what they see twice they drop, the database's first.  The log is read at open only.
 *
 * Locks: queue_lock, heads_lock and pool_lock are never held together. */
#ifndef HYPRXA_STORAGE_SERIES_STORE_H
#define HYPRXA_STORAGE_SERIES_STORE_H

#include "base/map.h"
#include "storage/series_chunk.h"
#include "storage/sqlite_db.h"
#include "storage/storage_priv.h"

#include <pthread.h>

/* What tests set lower; 0: the default. */
struct series_tuning {
    size_t chunk_samples;   /* of a head that make a chunk: 512 */
    int64_t chunk_after_ms; /* longest time in the log: 10 minutes */
    size_t log_bytes_max;   /* beyond it the oldest in the log become chunks: 64 MiB */
    size_t head_bytes_max;  /* the same for memory: 64 MiB */
};
int series_store_open_tuned(const struct series_store_options *options,
                            const struct series_tuning *tuning, struct series_store **ret,
                            struct error *err);

struct sample_array {
    struct sample *v;
    size_t n, cap;
};

/* Memory for texts that is freed as a whole. */
struct text_piece {
    struct text_piece *next;
    size_t used, cap;
    char bytes[];
};

/* The last span of a series on disk. */
struct series_tail {
    bool any;
    int64_t id, start, end;
    size_t n; /* samples of the chunk with seq 0 */
};

enum head_plan { PLAN_NONE, PLAN_LOG, PLAN_CHUNK };

struct series_head {
    int64_t id; /* set when made, then const */
    /* changed by the writer under heads_lock, read by the writer without */
    struct sample_array old, fresh; /* `old` rises in time; `fresh` unless `unordered` */
    struct text_piece *texts;       /* of both */
    int64_t last_time;              /* newest known of the series, if has_last */
    bool has_last;
    /* the writer's own */
    bool dirty, unordered, touched;
    char *identity; /* "source\0canonical" until the row of the series is saved, then NULL */
    size_t source_len;
    int64_t hash;
    size_t text_bytes;
    struct series_tail tail;
    int64_t log_row;                   /* oldest row that holds samples of `old`; 0: none */
    int64_t logged_at_ms;              /* when that was written (monotonic) */
    struct series_head *older, *newer; /* in the list by log_row */
    enum head_plan plan;               /* of the flush under way */
    struct series_tail planned_tail;
    int64_t planned_row;
};

struct head_list {
    struct series_head **v;
    size_t n, cap;
};

struct log_row {
    int64_t seq;
    size_t bytes;
};

enum series_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SERIES_GET,
    SQL_SERIES_IDENTITY,
    SQL_SERIES_ADD,
    SQL_LOG_ADD,
    SQL_LOG_DROP,
    SQL_LOG_ASIDE,
    SQL_LOG_DROP_ONE,
    SQL_MARK,
    SQL_MARKS_DROP,
    SQL_CHUNK_ADD,
    SQL_CHUNK_DROP,
    SQL_CHUNK_ASIDE,
    SQL_CHUNK_BLANK,
    SQL_CHUNK_TAIL,
    SQL_CHUNK_AT,
    SQL_CHUNK_AFTER,
    SQL_GROUP,
    SQL_GROUP_SIZE,
    SQL_GROUP_DROP,
    SQL_EXPIRED,
    SQL_NEXT_SERIES,
    SQL_STATE_PUT,
    SQL_COUNT
};

struct series_reader;

struct series_store {
    /* set at open, then const */
    struct series_store_options options;
    struct series_tuning tuning;
    char *path;
    int64_t generation; /* tells the tokens of this store in series.storage_id from others' */
    pthread_t writer;
    bool writer_started;

    pthread_mutex_t queue_lock;
    pthread_cond_t wake, room, saved;
    /* guarded by queue_lock */
    struct sample_block **queue; /* a ring */
    size_t queue_first, queue_n, queue_cap;
    size_t queue_samples;            /* in the ring */
    size_t held_samples, held_bytes; /* not durable yet, in the ring or in heads */
    uint64_t appended, durable;      /* blocks */
    uint64_t flush_asked, flush_answered;
    size_t waiting;       /* appenders for room */
    size_t wake_at;       /* queue_samples at which the writer wants to wake */
    int64_t first_ms;     /* when the oldest that is not durable came; INT64_MAX: none */
    int64_t retry_ms;     /* after a failure: no flush of our own before */
    struct error failure; /* of the last flush */
    bool stopping, stopped;

    pthread_mutex_t heads_lock;
    /* guarded by heads_lock, changed by the writer only */
    struct map by_identity;     /* "source\0canonical" -> head */
    struct series_head **heads; /* by id */
    size_t n_heads;
    struct map states; /* "source\0key" -> struct pending_state, not durable yet */

    /* the writer's own */
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
    struct chunk_coder *coder;
    struct buf chunk, row; /* being encoded */
    struct sample_array gathered, sorted, group;
    struct text_piece *group_texts;
    struct head_list dirty, chunking;
    struct series_head *oldest, *newest; /* heads with samples in the log, by log_row */
    struct log_row *rows;                /* live rows of the log, a ring by seq */
    size_t rows_first, rows_n, rows_cap;
    size_t log_bytes, head_bytes; /* live rows; samples of `old` and texts */
    int64_t next_row, next_series;
    size_t ingest_run; /* runs of the front block that are in heads already */
    size_t taken_blocks, taken_samples, taken_bytes, counted_failed;
    int64_t expire_series; /* where the next step of retention goes on */
    int64_t expire_ms, tidy_ms;

    pthread_mutex_t pool_lock;
    /* guarded by pool_lock */
    struct series_reader *pool; /* idle readers */
    size_t pool_n;
    int64_t damaged[32]; /* chunks that readers found damaged, told once each */
    size_t damaged_n;

    atomic_ullong n_stored, n_duplicate, n_failed, n_chunks, n_rows, n_expired, n_damaged;
};

struct pending_state {
    size_t len;
    char bytes[];
};

/* --- series_store.c --- */
/* References to all blocks in the queue, oldest first; the caller unrefs and frees.  ERR_NOMEM. */
int series_queue_snapshot(struct series_store *ss, struct sample_block ***ret, size_t *ret_n);
/* The error of a statement of the writer, reset. */
int series_sql_error(struct series_store *ss, enum series_statement which, struct error *err);

/* --- series_head.c --- */
int sample_array_reserve(struct sample_array *a, size_t n); /* room for n in all; ERR_NOMEM */
/* Sort by time, keep the first of equal ones; `scratch` gets as much room.  ERR_NOMEM. */
int samples_sort(struct sample_array *a, struct sample_array *scratch, size_t *ret_dropped);
size_t samples_find(const struct sample *v, size_t n, int64_t time_us);    /* first not before */
char *text_keep(struct text_piece **texts, const void *bytes, size_t len); /* NULL: no memory */
void text_release(struct text_piece **texts);
bool series_same(const struct series *a, const struct series *b);
int64_t series_token_id(const struct series_store *ss, struct series *s); /* 0: unknown here */
void series_set_token(const struct series_store *ss, struct series *s, int64_t id);
int series_identity(const char *source, const char *canonical, size_t canonical_len,
                    struct buf *out); /* the key of by_identity */
/* Move what is queued into heads.  [writer] */
int series_ingest(struct series_store *ss, struct error *err);
struct series_head *series_head_add(struct series_store *ss, int64_t id, const struct buf *identity,
                                    struct error *err);
int series_head_normalise(struct series_store *ss, struct series_head *h, struct error *err);
void series_heads_release(struct series_store *ss);
int head_list_add(struct head_list *list, struct series_head *h); /* ERR_NOMEM */

/* --- series_log.c --- */
int series_recover(struct series_store *ss, struct error *err); /* at open: the log into heads */
/* Save all that heads hold and make chunks of what is due, in one transaction. */
int series_commit(struct series_store *ss, struct error *err);
bool series_chunks_due(const struct series_store *ss, int64_t now_ms);

/* --- series_compact.c --- */
int series_load_tail(struct series_store *ss, int64_t id, struct series_tail *ret,
                     struct error *err);
/* Samples of a head, rising in time, none in a chunk yet, as chunks; sets planned_tail. */
int series_put_chunks(struct series_store *ss, struct series_head *h, const struct sample *s,
                      size_t n, struct error *err);
/* Take from v, which rises in time, what chunks hold already; *n is what remains. */
int series_drop_stored(struct series_store *ss, const struct series_head *h, struct sample *v,
                       size_t *n, struct error *err);
int series_expire_step(struct series_store *ss, bool *ret_more, struct error *err);

/* --- series_read.c --- */
void series_readers_close(struct series_store *ss);

#endif
