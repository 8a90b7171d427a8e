/* The log document of contract 8.1: members that are null and objects that are empty are left out. */
#include "logs/logs_priv.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Between the members of an object: its brace, or a comma. */
static void open_member(struct buf *out, const char *name)
{
    if (out->len && out->data[out->len - 1] != '{')
        buf_append_char(out, ',');
    buf_append_char(out, '"');
    buf_append_str(out, name);
    buf_append_lit(out, "\":");
}

static void add_text(struct buf *out, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    open_member(out, name);
    json_write_text(out, text, strlen(text));
}

static void add_int(struct buf *out, const char *name, long long value)
{
    open_member(out, name);
    buf_append_int(out, value);
}

static void open_object(struct buf *out, const char *name)
{
    open_member(out, name);
    buf_append_char(out, '{');
}

static void close_object(struct buf *out)
{
    buf_append_char(out, '}');
}

/* Always with six digits, so that texts sort as times do. */
static void add_timestamp(struct buf *out, int64_t time_us)
{
    char text[TIME_ISO_SIZE];
    size_t len = time_format_iso(time_us, text);
    if (!strchr(text, '.'))
        snprintf(text + len, sizeof text - len, ".000000");
    add_text(out, "timestamp", text);
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void add_origin(struct buf *out, const struct log_place *place)
{
    open_object(out, "origin");
    add_text(out, "function", place->function);
    open_object(out, "file");
    add_int(out, "line", place->line);
    add_text(out, "name", file_name(place->file));
    close_object(out);
    close_object(out);
}

static void add_process(struct buf *out, const struct log_record *r)
{
    open_object(out, "process");
    add_int(out, "pid", r->process_id);
    add_text(out, "name", program_invocation_short_name);
    open_object(out, "thread");
    add_int(out, "id", r->thread_id);
    add_text(out, "name", r->thread_name);
    close_object(out);
    close_object(out);
}

static void add_error(struct buf *out, const struct error *error)
{
    open_object(out, "error");
    add_text(out, "type", error_code_name(error->code));
    add_text(out, "message", error->message);
    close_object(out);
    if (error->sys == 0)
        return;
    open_object(out, "extra");
    open_object(out, "errno");
    add_int(out, "code", error->sys);
    add_text(out, "name", strerrorname_np(error->sys));
    close_object(out);
    close_object(out);
}

int logs_write_document(struct buf *out, const struct log_record *r, const char *host)
{
    buf_append_char(out, '{');
    add_timestamp(out, r->time_us);
    add_text(out, "api_version", HYPRXA_VERSION);
    open_object(out, "context");
    add_text(out, "correlation_id", r->request_id);
    add_text(out, "user", r->user);
    add_text(out, "ip_address", r->address);
    add_text(out, "host", host);
    close_object(out);
    open_object(out, "log");
    add_text(out, "level", log_level_name(r->level));
    add_text(out, "original", r->message);
    add_text(out, "logger", r->logger);
    close_object(out);
    add_origin(out, &r->place);
    add_process(out, r);
    if (r->error && r->error->code)
        add_error(out, r->error);
    return buf_append_char(out, '}');
}
