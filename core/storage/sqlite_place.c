/* Where an event's number lies among those stored. */
#include "storage/sqlite_priv.h"

/* One row of up to two numbers, bound to nothing, one or two.  1: there is one, 0: none, negative. */
static int read_two(struct sqlite_storage *sq, enum read_statement which, const int64_t *bound,
                    int64_t ret[2], struct error *err)
{
    struct reader *reader;
    sqlite3_stmt *stmt;
    int result = reader_acquire(sq, &reader, err);
    if (result)
        return result;
    result = reader_statement(reader, which, &stmt, err);
    if (!result) {
        for (int i = 0; i < sqlite3_bind_parameter_count(stmt); i++)
            sqlite3_bind_int64(stmt, i + 1, bound[i]);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
            ret[0] = sqlite3_column_int64(stmt, 0);
            ret[1] = sqlite3_column_count(stmt) > 1 ? sqlite3_column_int64(stmt, 1) : 0;
            result = 1;
        } else if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
            result = reader_error(reader, rc, err);
        }
        sqlite3_reset(stmt);
    }
    reader_return(sq, reader);
    return result;
}

int sqlite_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after, struct error *err)
{
    int64_t found[2];
    int rc = read_two(sqlite_of(st), READ_SINCE, &time_us, found, err);
    if (rc > 0)
        *ret_after = (uint64_t)found[0] - 1;
    if (rc == 0) {
        rc = read_two(sqlite_of(st), READ_NEWEST, NULL, found, err);
        if (rc > 0)
            *ret_after = (uint64_t)found[0];
    }
    return rc < 0 ? rc : 0;
}

int sqlite_event_place(struct storage *st, const struct message_id *id,
                       struct storage_event_place *ret, struct error *err)
{
    struct storage_event_place place = {0};
    int64_t found[2];
    bool possible = id->origin == st->origin && id->sequence <= INT64_MAX && id->epoch <= st->epoch;
    const int64_t bound[2] = {possible ? (int64_t)id->sequence : 0,
                              possible ? (int64_t)id->epoch : 0};
    int rc = read_two(sqlite_of(st), READ_PLACE, bound, found, err);
    if (rc > 0) {
        place.stored = true;
        place.time_us = found[1];
    }
    if (rc >= 0)
        rc = read_two(sqlite_of(st), READ_NEXT_PLACE, bound, found, err);
    if (rc > 0) {
        place.oldest = (uint64_t)found[0];
        place.oldest_us = found[1];
    }
    if (rc >= 0)
        rc = read_two(sqlite_of(st), READ_NEWEST, NULL, found, err);
    if (rc < 0)
        return rc;
    place.newest = rc > 0 ? (uint64_t)found[0] : 0;
    *ret = place;
    return 0;
}
