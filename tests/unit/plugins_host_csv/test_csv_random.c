/* Rows written in random pieces, files rotated, subscriptions that come and go, and crashes that keep
 * any part of what was done last: in the end every row is stored once and with its value. */
#include "toy_host.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(csv_random, .timeout = 280);

enum { COLUMNS = 3, ROWS = 1500, STEPS = 250, PENDING_MAX = 4000 };

static const char *const subscriptions[COLUMNS] = {"{\"column\":\"a\",\"source\":\"toy\"}",
                                                   "{\"column\":\"b\",\"source\":\"toy\"}",
                                                   "{\"column\":\"c\",\"source\":\"toy\"}"};

struct model {
    uint64_t random;
    bool is_glob; /* rotated files match the path too */
    struct toy_store store;
    struct toy_host *host;
    bool subscribed[COLUMNS];
    size_t durable;              /* operations of this run that a crash keeps */
    char *values[COLUMNS][ROWS]; /* what is expected; NULL: no sample */
    size_t expected[COLUMNS];
    int n_rows, n_rotations;
    char pending[PENDING_MAX]; /* written, but for the file */
    size_t n_pending;
    char held_back[400]; /* a row that is written after its successor */
};

static struct hyprxa_error err = {.size = sizeof(err)};

static unsigned below(struct model *m, unsigned n)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (unsigned)((m->random >> 11) % n);
}

/* --- the writer --- */

/* A cell in CSV and as the toy host tells it; *ret_value NULL: no sample. */
static void make_cell(struct model *m, char *csv, char **ret_value)
{
    int n = (int)below(m, 100000) - 50000, length = 0;
    switch (below(m, 6)) {
    case 0:
        csv[0] = '\0';
        *ret_value = NULL;
        return;
    case 1:
        sprintf(csv, "%d", n);
        length = asprintf(ret_value, "i %d", n);
        break;
    case 2:
        sprintf(csv, "%d.25", n);
        length = asprintf(ret_value, "d %.17g", n + (n < 0 ? -0.25 : 0.25));
        break;
    case 3:
        sprintf(csv, "\"say \"\"%d\"\",\nand go\"", n);
        length = asprintf(ret_value, "s say \"%d\",\nand go", n);
        break;
    case 4:
        sprintf(csv, "text %d", n);
        length = asprintf(ret_value, "s text %d", n);
        break;
    default:
        sprintf(csv, "%s", n < 0 ? "false" : "true");
        length = asprintf(ret_value, "b %d", n < 0 ? 0 : 1);
        break;
    }
    cr_assert(length > 0);
}

static void add_pending(struct model *m, const char *text)
{
    size_t len = strlen(text);
    cr_assert(m->n_pending + len < PENDING_MAX);
    memcpy(m->pending + m->n_pending, text, len);
    m->n_pending += len;
}

static void make_row(struct model *m)
{
    cr_assert_lt(m->n_rows, ROWS);
    char cells[COLUMNS][60], line[400];
    int row = m->n_rows++;
    for (int i = 0; i < COLUMNS; i++) {
        make_cell(m, cells[i], &m->values[i][row]);
        m->expected[i] += m->values[i][row] ? 1 : 0;
    }
    snprintf(line, sizeof(line), "%d.5,%s,%s,%s%s", row, cells[0], cells[1], cells[2],
             below(m, 2) ? "\n" : "\r\n");
    if (m->held_back[0] == '\0' && below(m, 20) == 0) {
        strcpy(m->held_back, line); /* it comes late: history */
        return;
    }
    add_pending(m, line);
    add_pending(m, m->held_back);
    m->held_back[0] = '\0';
    if (below(m, 30) == 0) {
        add_pending(m, "not a row\n");
    }
}

static void write_pending(struct model *m, const char *name, size_t n)
{
    tree_append(name, m->pending, n);
    m->n_pending -= n;
    memmove(m->pending, m->pending + n, m->n_pending);
}

/* --- the server --- */

static void subscribe(struct model *m, int column)
{
    if (!m->subscribed[column]) {
        cr_assert_eq(toy_subscribe(m->host, &subscriptions[column], 1, &err), HYPRXA_OK);
        m->subscribed[column] = true;
    }
}

static void start(struct model *m)
{
    char options[600];
    snprintf(options, sizeof(options),
             "{\"path\":\"%s\",\"poll\":\"50ms\",\"timestamp\":{\"format\":\"unix\"}}",
             tree_path(m->is_glob ? "x.csv*" : "x.csv"));
    m->host = toy_open("csv", options, &m->store, &err);
    cr_assert(m->host, "%s", err.message);
    subscribe(m, (int)below(m, COLUMNS));
    for (int i = 0; i < COLUMNS && !m->is_glob; i++) {
        subscribe(m, i); /* who is away when a single path is rotated cannot come back to it */
    }
    m->durable = 0;
}

/* kill -9: what was done last is kept up to some point. */
static void crash(struct model *m)
{
    toy_stop(m->host);
    size_t n = toy_operations(m->host);
    unsigned lost = below(m, 3) == 0 ? below(m, 200) : below(m, 5);
    n = n > lost ? n - lost : 0;
    toy_commit(m->host, n > m->durable ? n : m->durable);
    toy_close(m->host);
    m->host = NULL;
    memset(m->subscribed, 0, sizeof(m->subscribed));
}

/* For the one who has to find out why. */
static void show_missing(struct model *m, int column)
{
    toy_stop(m->host);
    toy_commit(m->host, SIZE_MAX);
    const struct toy_series *s = toy_store_series(&m->store, subscriptions[column]);
    size_t at = 0;
    for (int row = 0; row < m->n_rows; row++) {
        bool have = s && at < s->n && s->samples[at].time_us == row * INT64_C(1000000) + 500000;
        if (m->values[column][row] && !have) {
            fprintf(stderr, "row %d of %d is missing: %s\n", row, m->n_rows,
                    m->values[column][row]);
        }
        at += have ? 1 : 0;
    }
    fprintf(stderr, "%zu of %zu\n", s ? s->n : 0, m->expected[column]);
}

static void await_all(struct model *m)
{
    if (!m->host) {
        start(m);
    }
    add_pending(m, m->held_back);
    m->held_back[0] = '\0';
    write_pending(m, "x.csv", m->n_pending);
    for (int i = 0; i < COLUMNS; i++) {
        subscribe(m, i);
    }
    for (int i = 0; i < COLUMNS; i++) {
        bool all = toy_wait_times(m->host, subscriptions[i], m->expected[i]);
        if (!all) {
            show_missing(m, i);
        }
        cr_assert(all, "column %d", i);
    }
    cr_assert(toy_wait_saved(m->host));
}

/* As logrotate's copytruncate; what has not been read would be lost by its nature. */
static void truncate_in_place(struct model *m)
{
    await_all(m);
    m->durable = toy_operations(m->host);
    tree_write("x.csv", "timestamp,a,b,c\n");
}

static void rotate(struct model *m)
{
    char name[40];
    if (!m->is_glob) {
        /* A file of a single path can be found again if it was seen there: give it something to see. */
        for (size_t before = m->expected[0]; m->expected[0] == before || m->held_back[0];) {
            make_row(m);
        }
        await_all(m);
        m->durable = toy_operations(m->host);
        make_row(m);
        make_row(m);
        write_pending(m, "x.csv", below(m, (unsigned)m->n_pending + 1));
    }
    snprintf(name, sizeof(name), "x.csv.%d", ++m->n_rotations);
    rename(tree_path("x.csv"), tree_path("%s", name));
    write_pending(m, name, m->n_pending); /* the writer ends its line in the old file */
    tree_write("x.csv", "timestamp,a,b,c\n");
}

static void act(struct model *m)
{
    unsigned what = below(m, 100);
    if (what < 55) {
        if (m->n_rows < ROWS - 2 * STEPS && m->n_pending < PENDING_MAX / 2) {
            make_row(m);
            make_row(m);
        }
        write_pending(m, "x.csv", below(m, (unsigned)m->n_pending + 1));
    } else if (what < 62) {
        rotate(m);
    } else if (what < 64) {
        truncate_in_place(m);
    } else if (!m->host) {
        start(m);
    } else if (what < 75) {
        crash(m);
    } else if (what < 85) {
        int column = (int)below(m, COLUMNS);
        if (m->is_glob && m->subscribed[column]) {
            toy_unsubscribe(m->host, subscriptions[column]);
            m->subscribed[column] = false;
        }
    } else {
        subscribe(m, (int)below(m, COLUMNS));
        cr_assert(toy_wait_saved(m->host));
    }
}

static void check(struct model *m, unsigned seed)
{
    for (int i = 0; i < COLUMNS; i++) {
        const struct toy_series *s = toy_store_series(&m->store, subscriptions[i]);
        size_t at = 0;
        cr_assert(s);
        for (int row = 0; row < m->n_rows; row++) {
            if (!m->values[i][row]) {
                continue;
            }
            cr_assert_lt(at, s->n, "seed %u column %d: row %d is missing", seed, i, row);
            cr_assert_eq(s->samples[at].time_us, row * INT64_C(1000000) + 500000,
                         "seed %u column %d: row %d is missing or another came instead", seed, i,
                         row);
            cr_assert_str_eq(s->samples[at].text, m->values[i][row]);
            at++;
        }
        cr_assert_eq(at, s->n, "seed %u column %d: samples that nobody wrote", seed, i);
    }
}

ParameterizedTestParameters(csv_random, every_row_is_stored_once_whatever_happens)
{
    enum { SEEDS = 16 };
    static unsigned seeds[SEEDS];
    const char *first = getenv("HYPRXA_TEST_SEED");
    for (unsigned i = 0; i < SEEDS; i++) {
        seeds[i] = i + (first ? (unsigned)strtoul(first, NULL, 10) : 1);
    }
    return cr_make_param_array(unsigned, seeds, SEEDS);
}
ParameterizedTest(unsigned *seed, csv_random, every_row_is_stored_once_whatever_happens)
{
    struct model *m = calloc(1, sizeof(*m));
    m->random = UINT64_C(0x9e3779b97f4a7c15) * *seed;
    m->is_glob = *seed % 2 == 0;
    tree_write("x.csv", "timestamp,a,b,c\n");
    start(m);
    for (int i = 0; i < STEPS; i++) {
        act(m);
    }
    await_all(m);
    toy_stop(m->host);
    toy_commit(m->host, SIZE_MAX);
    check(m, *seed);
    toy_close(m->host);
    toy_store_release(&m->store);
    for (int i = 0; i < COLUMNS; i++) {
        for (int row = 0; row < ROWS; row++) {
            free(m->values[i][row]);
        }
    }
    free(m);
}
