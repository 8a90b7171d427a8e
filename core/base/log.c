#include "base/log.h"

#include "base/buf.h"
#include "base/time.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, REQUEST_TEXT_MAX = 128, THREAD_NAME_MAX = 16 };

static atomic_int minimum = LOG_LEVEL_INFO;
static atomic_int sink_minimum = LOG_LEVEL_CRITICAL + 1; /* no sink */
static _Atomic(log_sink_fn *) sink;
static void *sink_ctx; /* written before `sink` is set */
static atomic_uint in_sink;
static _Thread_local bool sink_muted;
static atomic_ullong counts[LOG_LEVEL_CRITICAL + 1];
static _Thread_local char request_id[REQUEST_TEXT_MAX], request_user[REQUEST_TEXT_MAX],
    request_address[REQUEST_TEXT_MAX];

static const char *const names[] = {"debug", "info", "warning", "error", "critical"};

void log_set_level(enum log_level level)
{
    atomic_store(&minimum, (int)level);
}

bool log_level_from_name(const char *name, enum log_level *ret)
{
    for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_CRITICAL; i++) {
        if (strcasecmp(name, names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    return names[level];
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&minimum, memory_order_relaxed) ||
           (int)level >= atomic_load_explicit(&sink_minimum, memory_order_relaxed);
}

unsigned long long log_count(enum log_level level)
{
    return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

void log_set_request(const char *id, const char *user, const char *address)
{
    snprintf(request_id, sizeof request_id, "%s", id ? id : "");
    snprintf(request_user, sizeof request_user, "%s", user ? user : "");
    snprintf(request_address, sizeof request_address, "%s", address ? address : "");
}

/* A line in the making: fixed memory, so that logging works when nothing else does. */
struct line {
    char data[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *l, const char *text)
{
    size_t n = strlen(text);
    if (n > sizeof l->data - 8 - l->len)
        n = sizeof l->data - 8 - l->len; /* keep room for the closing characters */
    memcpy(l->data + l->len, text, n);
    l->len += n;
}

/* `text` escaped as the inside of a JSON string; bytes that are not UTF-8 come out as they are. */
static void put_escaped(struct line *l, const char *text)
{
    for (; *text && l->len < sizeof l->data - 16; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7F) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\u%04x", c);
            put(l, hex);
        } else {
            if (c == '"' || c == '\\')
                l->data[l->len++] = '\\';
            l->data[l->len++] = (char)c;
        }
    }
}

static void put_member(struct line *l, const char *name, const char *value)
{
    if (!*value)
        return;
    put(l, ",\"");
    put(l, name);
    put(l, "\":\"");
    put_escaped(l, value);
    put(l, "\"");
}

static void write_line(enum log_level level, const char *logger, const char *message,
                       int64_t time_us)
{
    char now[TIME_ISO_SIZE];
    time_format_iso(time_us, now);
    struct line l = {.len = 0};
    put(&l, "{\"timestamp\":\"");
    put(&l, now);
    put(&l, "\"");
    put_member(&l, "level", names[level]);
    put_member(&l, "logger", logger);
    put_member(&l, "message", message);
    put_member(&l, "request_id", request_id);
    put_member(&l, "user", request_user);
    put_member(&l, "address", request_address);
    l.data[l.len++] = '}';
    l.data[l.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, l.data, l.len);
    (void)written; /* there is nowhere left to report to */
}

/* --- the sink --- */

void log_set_sink(log_sink_fn *fn, void *ctx, enum log_level level)
{
    atomic_store(&sink_minimum, LOG_LEVEL_CRITICAL + 1);
    atomic_store(&sink, NULL);
    while (atomic_load(&in_sink) > 0)
        sched_yield(); /* it blocks nobody, so this is short */
    sink_ctx = ctx;
    atomic_store(&sink, fn);
    if (fn)
        atomic_store(&sink_minimum, (int)level);
}

void log_mute_sink(bool muted)
{
    sink_muted = muted;
}

static void give_to_sink(struct log_record *record)
{
    char thread_name[THREAD_NAME_MAX] = "";
    atomic_fetch_add(&in_sink, 1);
    log_sink_fn *fn = atomic_load(&sink);
    if (fn) {
        pthread_getname_np(pthread_self(), thread_name, sizeof thread_name);
        record->thread_name = thread_name;
        record->thread_id = (int)gettid();
        record->process_id = (int)getpid();
        record->request_id = request_id;
        record->user = request_user;
        record->address = request_address;
        sink_muted = true;
        fn(sink_ctx, record);
        sink_muted = false;
    }
    atomic_fetch_sub(&in_sink, 1);
}

void log_write_from(const struct log_place *place, enum log_level level, const char *logger,
                    const struct error *error, const char *format, ...)
{
    atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
    if (!log_enabled(level))
        return;
    char message[LINE_MAX_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct log_record record = {.time_us = time_now_us(),
                                .level = level,
                                .logger = logger,
                                .message = message,
                                .place = *place,
                                .error = error};
    if ((int)level >= atomic_load_explicit(&minimum, memory_order_relaxed))
        write_line(level, logger, message, record.time_us);
    if (!sink_muted && (int)level >= atomic_load_explicit(&sink_minimum, memory_order_relaxed))
        give_to_sink(&record);
}
