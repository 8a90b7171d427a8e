#include "base/log.h"

#include "base/error.h"
#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(log, .timeout = 20);

/* What the sink got. */
struct seen {
    atomic_int n;
    enum log_level level;
    char message[4096], request_id[128], user[128], address[128], function[128], thread[32];
    int line, code;
    bool logs_itself;
};

static void keep(void *ctx, const struct log_record *r)
{
    struct seen *s = ctx;
    s->level = r->level;
    snprintf(s->message, sizeof s->message, "%s", r->message);
    snprintf(s->request_id, sizeof s->request_id, "%s", r->request_id);
    snprintf(s->user, sizeof s->user, "%s", r->user);
    snprintf(s->address, sizeof s->address, "%s", r->address);
    snprintf(s->function, sizeof s->function, "%s", r->place.function);
    snprintf(s->thread, sizeof s->thread, "%s", r->thread_name);
    s->line = r->place.line;
    s->code = r->error ? r->error->code : 0;
    atomic_fetch_add(&s->n, 1);
    if (s->logs_itself)
        log_error("hyprxa.test", "from within");
}

Test(log, the_sink_gets_the_record_with_its_request_place_and_error)
{
    struct seen s = {0};
    struct error err = ERROR_INIT;
    error_set(&err, ERR_IO, "the disk");
    log_set_sink(keep, &s, LOG_LEVEL_INFO);
    log_set_request("0123abcd", "ada", "10.0.0.5");
    log_cause(LOG_LEVEL_ERROR, "hyprxa.test", &err, "lost: %s", err.message);
    int line = __LINE__ - 1;
    cr_expect_eq(s.n, 1);
    cr_expect_eq(s.level, LOG_LEVEL_ERROR);
    cr_expect_str_eq(s.message, "lost: the disk");
    cr_expect_str_eq(s.request_id, "0123abcd");
    cr_expect_str_eq(s.user, "ada");
    cr_expect_str_eq(s.address, "10.0.0.5");
    cr_expect_str_eq(s.function, __func__);
    cr_expect_eq(s.line, line);
    cr_expect_eq(s.code, ERR_IO);
    log_set_request(NULL, NULL, NULL);
    log_info("hyprxa.test", "outside");
    cr_expect_str_eq(s.request_id, "");
    cr_expect_eq(s.code, 0);
}

Test(log, the_sink_has_a_level_of_its_own)
{
    struct seen s = {0};
    log_set_level(LOG_LEVEL_CRITICAL);
    log_set_sink(keep, &s, LOG_LEVEL_WARNING);
    cr_expect(log_enabled(LOG_LEVEL_WARNING));
    cr_expect_not(log_enabled(LOG_LEVEL_INFO));
    log_info("hyprxa.test", "below");
    cr_expect_eq(s.n, 0);
    log_warning("hyprxa.test", "at");
    cr_expect_eq(s.n, 1);
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
    cr_expect_not(log_enabled(LOG_LEVEL_WARNING));
    log_warning("hyprxa.test", "nobody wants it");
    cr_expect_eq(s.n, 1);
}

Test(log, what_the_sink_logs_itself_and_a_muted_thread_does_not_come_back)
{
    struct seen s = {.logs_itself = true};
    log_set_sink(keep, &s, LOG_LEVEL_INFO);
    log_info("hyprxa.test", "once");
    cr_expect_eq(s.n, 1);
    log_mute_sink(true);
    log_info("hyprxa.test", "muted");
    cr_expect_eq(s.n, 1);
    log_mute_sink(false);
    log_info("hyprxa.test", "heard");
    cr_expect_eq(s.n, 2);
}

/* Sinks are set and taken away under threads that log: none is used after it was taken away. */
struct guarded {
    atomic_bool alive;
    atomic_int used_after, n;
};

static void touch(void *ctx, const struct log_record *r)
{
    struct guarded *g = ctx;
    (void)r;
    if (!atomic_load(&g->alive))
        atomic_fetch_add(&g->used_after, 1);
    atomic_fetch_add(&g->n, 1);
}

static atomic_bool over;

static void *log_on(void *arg)
{
    (void)arg;
    while (!atomic_load(&over))
        log_debug("hyprxa.test", "%d", 1);
    return NULL;
}

Test(log, a_sink_taken_away_is_left_by_every_thread)
{
    struct guarded g = {0};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(thread_start(&threads[i], "logger", log_on, NULL, NULL), 0);
    for (int round = 0; round < 200; round++) {
        atomic_store(&g.alive, true);
        int before = atomic_load(&g.n);
        log_set_sink(touch, &g, LOG_LEVEL_DEBUG);
        while (atomic_load(&g.n) == before)
            sched_yield();
        log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
        atomic_store(&g.alive, false);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(g.used_after, 0);
}

Test(log, a_text_cannot_forge_a_line)
{
    char path[] = "/tmp/hyprxa-log-XXXXXX", text[8192];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    int kept = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    log_info("hyprxa.test", "%s", "a\n{\"level\":\"critical\"}\r\n\"},\x1b[31m");
    dup2(kept, STDERR_FILENO);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect_eq(strchr(text, '\n'), text + n - 1, "%s", text);
    cr_expect_not_null(strstr(text, "a\\u000a{\\\"level\\\":\\\"critical\\\"}\\u000d\\u000a"));
    cr_expect_not_null(strstr(text, "\\u001b[31m"));
    close(fd);
    unlink(path);
}
