#include "logs/logs_priv.h"

#include "base/auto.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

TestSuite(document, .timeout = 20);

static struct log_record record(const char *message)
{
    return (struct log_record){
        .time_us = INT64_C(1677658560250000),
        .level = LOG_LEVEL_ERROR,
        .logger = "hyprxa.events",
        .message = message,
        .request_id = "0123abcd",
        .user = "ada",
        .address = "10.0.0.5",
        .place = {"/src/core/events/x.c", "f", 8},
        .process_id = 1,
        .thread_id = 140,
        .thread_name = "worker",
    };
}

/* `expected`, but for the version and the name of the process. */
static void check(const struct log_record *r, const char *host, const char *context,
                  const char *rest)
{
    AUTO(buf) out = BUF_INIT(65536);
    AUTO(buf) expected = BUF_INIT(65536);
    cr_assert_eq(logs_write_document(&out, r, host), 0);
    buf_printf(&expected,
               "{\"timestamp\":\"2023-03-01T08:16:00.250000\",\"api_version\":\"" HYPRXA_VERSION
               "\",\"context\":%s,\"log\":{\"level\":\"error\",\"original\":\"message text\","
               "\"logger\":\"hyprxa.events\"},\"origin\":{\"function\":\"f\","
               "\"file\":{\"line\":8,\"name\":\"x.c\"}},\"process\":{\"pid\":1,\"name\":\"%s\","
               "\"thread\":{\"id\":140,\"name\":\"worker\"}}%s}",
               context, program_invocation_short_name, rest);
    cr_expect_str_eq(out.data, expected.data);
}

Test(document, has_the_members_of_the_contract_in_its_order)
{
    struct log_record r = record("message text");
    check(&r, "vm",
          "{\"correlation_id\":\"0123abcd\",\"user\":\"ada\",\"ip_address\":\"10.0.0.5\","
          "\"host\":\"vm\"}",
          "");
}

Test(document, leaves_out_what_is_not_there)
{
    struct log_record r = record("message text");
    r.request_id = r.user = r.address = "";
    check(&r, "vm", "{\"host\":\"vm\"}", "");
}

Test(document, an_error_stands_beside_its_text)
{
    struct error err = ERROR_INIT;
    struct log_record r = record("message text");
    r.request_id = r.user = r.address = "";
    r.error = &err;
    check(&r, "vm", "{\"host\":\"vm\"}", ""); /* no error after all */
    error_set(&err, ERR_UNAVAILABLE, "cannot read");
    check(&r, "vm", "{\"host\":\"vm\"}",
          ",\"error\":{\"type\":\"unavailable\",\"message\":\"cannot read\"}");
    err.sys = ENOSPC;
    check(&r, "vm", "{\"host\":\"vm\"}",
          ",\"error\":{\"type\":\"unavailable\",\"message\":\"cannot read\"},"
          "\"extra\":{\"errno\":{\"code\":28,\"name\":\"ENOSPC\"}}");
}

Test(document, a_time_always_has_six_digits)
{
    AUTO(buf) out = BUF_INIT(65536);
    struct log_record r = record("x");
    r.time_us = INT64_C(1677658560000000);
    cr_assert_eq(logs_write_document(&out, &r, ""), 0);
    cr_expect_eq(strncmp(out.data, "{\"timestamp\":\"2023-03-01T08:16:00.000000\",", 42), 0);
}

/* Whatever stands in the texts: one line, valid JSON, the text inside of it. */
Test(document, a_text_cannot_forge_another_document)
{
    static const char *const hostile[] = {
        "a\n{\"timestamp\":\"2023-03-01T08:16:00.250000\"}",
        "\"},\"error\":{\"type\":\"x",
        "\r\ndata: {}\r\n\r\n",
        "\xFF\xFE\xC0\x80\xED\xA0\x80 cut \xE2\x82",
        "\\",
        "\x01\x1f\x7f\xE2\x80\xA8",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        AUTO(buf) out = BUF_INIT(65536);
        AUTO_JSON *parsed = NULL;
        struct json_object *log = NULL;
        struct error err = ERROR_INIT;
        struct log_record r = record(hostile[i]);
        r.user = r.address = r.logger = r.thread_name = hostile[i];
        cr_assert_eq(logs_write_document(&out, &r, hostile[i]), 0);
        cr_expect_null(strpbrk(out.data, "\r\n"), "%s", out.data);
        cr_assert_eq(json_parse(out.data, out.len, &parsed, &err), 0, "%s: %s", err.message,
                     out.data);
        cr_expect_eq(json_object_object_length(parsed), 6);
        cr_assert(json_object_object_get_ex(parsed, "log", &log));
        cr_expect_eq(json_object_object_length(log), 3);
        if (i != 3) /* valid UTF-8 comes out as it went in */
            cr_expect_str_eq(json_get_string(log, "original", ""), hostile[i]);
    }
}
