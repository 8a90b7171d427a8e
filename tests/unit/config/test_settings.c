#include "config/config.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/hyprxa-settings-XXXXXX";

static void in_an_empty_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void remove_folder(void)
{
    unlink("hyprxa.yaml");
    unlink(".env");
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(settings, .timeout = 20, .init = in_an_empty_folder, .fini = remove_folder);

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static struct settings s;
static struct error err;

static void load_good(const char *yaml)
{
    struct buf problems = BUF_INIT(65536);
    if (yaml)
        write_file("hyprxa.yaml", yaml);
    int rc = settings_load(&s, yaml ? "hyprxa.yaml" : NULL, &problems, &err);
    cr_assert_eq(rc, 0, "%s %s", err.message, problems.data);
    buf_release(&problems);
}

static void expect_problems(const char *yaml, const char *expected)
{
    struct buf problems = BUF_INIT(65536);
    if (yaml)
        write_file("hyprxa.yaml", yaml);
    cr_expect_eq(settings_load(&s, yaml ? "hyprxa.yaml" : NULL, &problems, &err), ERR_INVALID);
    cr_expect_str_eq(problems.data ? problems.data : "", expected);
    buf_release(&problems);
    settings_release(&s);
}

Test(settings, defaults_are_those_of_the_contract_and_the_design)
{
    load_good(NULL);
    cr_expect_eq(s.events_max_buffered_events, 10000);
    cr_expect_eq(s.events_maxlen, 1000);
    cr_expect_eq(s.timeseries_max_subscribers, 0);
    cr_expect_eq(s.events_flush_interval_us, 500000);
    cr_expect_eq(s.mongodb_server_selection_timeout_us, 2000000);
    cr_expect_eq(s.mongodb_heartbeat_us, 20000000);
    cr_expect_eq(s.timeseries_expire_after_us, 2592000 * INT64_C(1000000));
    cr_expect_str_eq(s.mongodb_connection_uri, "");
    cr_expect_str_eq(s.topics_collection_name, "topics");
    cr_expect(s.hyprxa_admin_raise_on_no_scopes && !s.hyprxa_read_raise_on_no_scopes);
    cr_assert_eq(s.hyprxa_listen.n, 1);
    cr_expect_str_eq(s.hyprxa_listen.items[0], "127.0.0.1:8000");
    cr_expect_eq(s.hyprxa_allow_origins.n, 2);
    cr_expect_eq(settings_origin(&s, "EVENTS_MAXLEN"), SETTING_DEFAULT);
    settings_release(&s);
}

Test(settings, later_places_win_over_earlier_ones)
{
    write_file(".env", "EVENTS_MAXLEN=3\nEVENTS_BUFFER_SIZE=4\n");
    setenv("EVENTS_BUFFER_SIZE", "5", 1);
    load_good("events: {maxlen: 2, buffer_size: 2, max_retries: 2}\n");
    cr_expect_eq(s.events_max_retries, 2);
    cr_expect_eq(settings_origin(&s, "EVENTS_MAX_RETRIES"), SETTING_FILE);
    cr_expect_eq(s.events_maxlen, 3);
    cr_expect_eq(s.events_buffer_size, 5);
    cr_expect_eq(settings_set(&s, "EVENTS_BUFFER_SIZE", "6", &err), 0);
    cr_expect_eq(s.events_buffer_size, 6);
    cr_expect_eq(settings_origin(&s, "EVENTS_BUFFER_SIZE"), SETTING_FLAG);
    settings_release(&s);
}

Test(settings, the_environment_is_read_in_any_case_and_empty_is_not_set)
{
    setenv("events_maxlen", "7", 1);
    setenv("Events_Buffer_Size", "8", 1);
    setenv("EVENTS_BUFFER_SIZE", "9", 1);
    setenv("EVENTS_MAX_RETRIES", "", 1);
    setenv("HYPRXA_READ_SCOPES", "[\"A\",\"B\"]", 1);
    setenv("HYPRXA_READ_ANY", "Off", 1);
    setenv("MONGODB_TIMEOUT", "250", 1);
    setenv("MEMCACHED_TIMEOUT", "1.5", 1);
    load_good(NULL);
    cr_expect_eq(s.events_maxlen, 7);
    cr_expect_eq(s.events_buffer_size, 9);
    cr_expect_eq(s.events_max_retries, 3);
    cr_assert_eq(s.hyprxa_read_scopes.n, 2);
    cr_expect_str_eq(s.hyprxa_read_scopes.items[1], "B");
    cr_expect_not(s.hyprxa_read_any);
    cr_expect_eq(s.mongodb_timeout_us, 250000);
    cr_expect_eq(s.memcached_timeout_us, 1500000);
    settings_release(&s);
}

Test(settings, the_file_takes_groups_and_top_level_keys)
{
    setenv("T_PORT", "8100", 1);
    load_good("storage: sqlite:///x.db\n"
              "listen: ['127.0.0.1:${T_PORT}']\n"
              "log_level: debug\n"
              "debug_auth: true\n"
              "hyprxa: {read_scopes: [R], workers: 8, max_body: 2MiB}\n"
              "timeseries:\n  flush_interval: 250ms\n  expire_after: 7d\n  lock_ttl: 4\n"
              "memcached: {timeout: 0.5}\n"
              "auth: {debug: {require_token: true, user: {first_name: Ada, scopes: []}}}\n");
    cr_expect_str_eq(s.hyprxa_storage, "sqlite:///x.db");
    cr_expect_str_eq(s.hyprxa_listen.items[0], "127.0.0.1:8100");
    cr_expect_str_eq(s.hyprxa_log_level, "debug");
    cr_expect_str_eq(s.hyprxa_debug_auth, "true");
    cr_expect_eq(s.hyprxa_max_body, 2 << 20);
    cr_expect_eq(s.hyprxa_workers, 8);
    cr_expect_eq(s.timeseries_flush_interval_us, 250000);
    cr_expect_eq(s.timeseries_expire_after_us, 7 * 86400 * INT64_C(1000000));
    cr_expect_eq(s.timeseries_lock_ttl_us, 4000000);
    cr_expect_eq(s.memcached_timeout_us, 500000);
    cr_expect(s.auth_debug_require_token);
    cr_expect_str_eq(s.auth_debug_user_first_name, "Ada");
    cr_expect_str_eq(s.auth_debug_user_username, "admin");
    cr_expect_eq(settings_origin(&s, "AUTH_DEBUG_USER_SCOPES"), SETTING_FILE);
    settings_release(&s);
}

Test(settings, every_problem_of_the_file_is_collected_with_its_place)
{
    expect_problems(
        "events:\n"
        "  maxlen: lots\n"
        "  maxlength: 3\n"
        "  flush_interval: 0\n"
        "evnts: {}\n"
        "hyprxa:\n"
        "  read_any: yes\n"
        "  read_scopes: READ\n"
        "  config: x\n"
        "  workers: 1\n"
        "workers: 10\n"
        "topics: 3\n"
        "mongodb: {connection_uri: 12, appname: 5}\n"
        "auth: {debug: {usr: {}, user: {upi: x, scope: []}}, debug_user: 1}\n",
        "hyprxa.yaml:2:11: expected a whole number from 1 to 10000000; found lots\n"
        "hyprxa.yaml:3:3: unknown setting\n"
        "hyprxa.yaml:4:19: expected a duration above 0, up to 1h: a number of seconds, or with a "
        "unit, such as 500ms or 5m; found 0\n"
        "hyprxa.yaml:5:1: unknown setting or group of settings\n"
        "hyprxa.yaml:7:13: expected true or false; found yes\n"
        "hyprxa.yaml:8:16: expected a list of texts, such as [\"a\", \"b\"]; found READ\n"
        "hyprxa.yaml:9:3: unknown setting\n"
        "hyprxa.yaml:10:12: expected a whole number from 4 to 4096; found 1\n"
        "hyprxa.yaml:11:1: this setting stands in the file twice\n"
        "hyprxa.yaml:12:9: expected a group of settings (key: value)\n"
        "hyprxa.yaml:13:27: expected text\n"
        "hyprxa.yaml:13:40: expected text; found 5\n"
        "hyprxa.yaml:14:16: unknown setting\n"
        "hyprxa.yaml:14:37: expected a whole number from 0 to 9223372036854775807; found x\n"
        "hyprxa.yaml:14:40: unknown setting\n"
        "hyprxa.yaml:14:65: expected a group of settings (key: value)\n");
}

Test(settings, problems_of_the_environment_name_the_variable)
{
    write_file(".env", "A=1\nEVENTS_MAXLEN=many\nbroken line\n");
    setenv("HYPRXA_LOG_LEVEL", "loud", 1);
    expect_problems(
        NULL, ".env:2: EVENTS_MAXLEN: expected a whole number from 1 to 10000000; found many\n"
              ".env:3: not an assignment: expected NAME=value\n"
              "environment: HYPRXA_LOG_LEVEL: expected one of debug, info, warning, error, "
              "critical; found loud\n");
}

Test(settings, an_expanded_value_never_shows)
{
    setenv("T_SECRET", "hunter22", 1);
    expect_problems("events: {maxlen: \"${T_SECRET}\"}\n",
                    "hyprxa.yaml:1:18: expected a whole number from 1 to 10000000; found a value "
                    "expanded from ${...}\n");
}

Test(settings, a_missing_file_that_was_named_is_a_problem)
{
    struct buf problems = BUF_INIT(4096);
    cr_expect_eq(settings_load(&s, "absent.yaml", &problems, &err), ERR_INVALID);
    cr_expect_str_eq(problems.data, "absent.yaml: No such file or directory\n");
    buf_release(&problems);
    settings_release(&s);
}

struct value_case {
    char variable[40], value[40];
    bool good;
};

ParameterizedTestParameters(settings, values_are_checked_at_the_edge)
{
    static struct value_case cases[] = {
        {"HYPRXA_WORKERS", "4", true},
        {"HYPRXA_WORKERS", "3", false},
        {"HYPRXA_WORKERS", "4096", true},
        {"HYPRXA_WORKERS", "4097", false},
        {"HYPRXA_WORKERS", " 8", false},
        {"HYPRXA_WORKERS", "8 ", false},
        {"HYPRXA_WORKERS", "99999999999999999999", false},
        {"HYPRXA_MAX_BODY", "64KiB", true},
        {"HYPRXA_MAX_BODY", "64KB", false},
        {"HYPRXA_MAX_BODY", "-1", false},
        {"HYPRXA_MAX_BODY", "18014398509481984KiB", false},
        {"EVENTS_MAX_BACKOFF", "0.001", true},
        {"EVENTS_MAX_BACKOFF", "0", false},
        {"EVENTS_MAX_BACKOFF", "nan", false},
        {"EVENTS_MAX_BACKOFF", "1.2.3", false},
        {"EVENTS_MAX_BACKOFF", "90m", false},
        {"TIMESERIES_LOCK_TTL", "15", true},
        {"TIMESERIES_LOCK_TTL", "16", false},
        {"HYPRXA_READ_ANY", "TRUE", true},
        {"HYPRXA_READ_ANY", "2", false},
        {"HYPRXA_LISTEN", "0.0.0.0:1", true},
        {"HYPRXA_LISTEN", "[::1]:8000", true},
        {"HYPRXA_LISTEN", "[\"a\",]", false},
        {"HYPRXA_LISTEN", "[1]", false},
        {"HYPRXA_SLOW_SUBSCRIBER", "disconnect", true},
        {"HYPRXA_SLOW_SUBSCRIBER", "drop|disconnect", false},
        {"HYPRXA_NO_SUCH", "1", false},
    };
    return cr_make_param_array(struct value_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct value_case *c, settings, values_are_checked_at_the_edge)
{
    load_good(NULL);
    int rc = settings_set(&s, c->variable, c->value, &err);
    cr_expect_eq(rc == 0, c->good, "%s=%s: %d %s", c->variable, c->value, rc, err.message);
    settings_release(&s);
}

Test(settings, a_repeated_flag_replaces_the_list_once)
{
    load_good(NULL);
    cr_assert_eq(settings_append(&s, "HYPRXA_LISTEN", "127.0.0.1:1", &err), 0);
    cr_assert_eq(settings_append(&s, "HYPRXA_LISTEN", "127.0.0.1:2", &err), 0);
    cr_assert_eq(s.hyprxa_listen.n, 2);
    cr_expect_str_eq(s.hyprxa_listen.items[0], "127.0.0.1:1");
    cr_expect_eq(settings_append(&s, "HYPRXA_WORKERS", "1", &err), ERR_NOT_FOUND);
    settings_release(&s);
}

Test(settings, what_has_no_effect_is_accepted_and_named)
{
    setenv("SENTRY_ENABLED", "maybe", 1);
    load_good("sentry: {sample_rate: 0.5, ignore_loggers: [a]}\n");
    struct buf names = BUF_INIT(4096);
    cr_expect_eq(settings_warnings(&s, &names), 0);
    cr_expect_str_eq(names.data, "SENTRY_ENABLED, SENTRY_SAMPLE_RATE, SENTRY_IGNORE_LOGGERS");
    buf_release(&names);
    settings_release(&s);
}

Test(settings, the_description_names_every_setting)
{
    struct buf text = BUF_INIT(1 << 20);
    cr_assert_eq(settings_describe(&text), 0);
    static const char *const names[] = {
#define SETTING(kind, member, VARIABLE, ...) #VARIABLE,
#include "config/settings.def"
#undef SETTING
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect(strstr(text.data, names[i]) || strncmp(names[i], "SENTRY_", 7) == 0, "%s",
                  names[i]);
    buf_release(&text);
}

Test(settings, the_description_gives_ranges_and_defaults_in_units)
{
    struct buf text = BUF_INIT(1 << 20);
    cr_assert_eq(settings_describe(&text), 0);
    static const char *const parts[] = {
        "\n      a duration from 1s to 36500d: a number of seconds, or with a unit, such as 500ms "
        "or "
        "5m; default 30d\n",
        "\n      a duration from 500ms to 1d: a number of milliseconds, or with a unit, such as "
        "500ms "
        "or 5m; default 20s\n",
        "\n      a duration above 0, up to 1h: a number of seconds, or with a unit, such as 500ms "
        "or "
        "5m; default 0.5s\n",
        "\n      a size from 125B to 1GiB: a number of bytes, or with a unit, such as 64KiB; "
        "default "
        "64KiB\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_expect(strstr(text.data, parts[i]), "%s", parts[i]);
    buf_release(&text);
}

/* The file that is installed: its comments are the defaults, as it claims. */
Test(settings, the_installed_file_shows_the_defaults)
{
    FILE *in = fopen(HYPRXA_SOURCE_DIR "/core/config/hyprxa.yaml", "r");
    FILE *out = fopen("hyprxa.yaml", "w");
    cr_assert(in && out);
    char line[256];
    int keys = 0;
    while (fgets(line, sizeof line, in)) {
        const char *key = line + 2 + strspn(line + 1, " ") - 1;
        size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyz_");
        if (line[0] == '#' && n > 0 && key[n] == ':' && !strstr(line, "storage:")) {
            fputs(line + 2, out);
            keys++;
        }
    }
    fclose(in);
    fclose(out);
    cr_expect_gt(keys, 10);

    struct buf problems = BUF_INIT(65536);
    struct settings shown;
    cr_assert_eq(settings_load(&shown, "hyprxa.yaml", &problems, &err), 0, "%s", problems.data);
    load_good(NULL);
    cr_expect_str_eq(shown.hyprxa_listen.items[0], s.hyprxa_listen.items[0]);
    cr_expect_str_eq(shown.hyprxa_log_level, s.hyprxa_log_level);
    cr_expect_eq(shown.hyprxa_allow_origins.n, s.hyprxa_allow_origins.n);
    cr_expect_eq(shown.hyprxa_read_scopes.n, 0);
    cr_expect_eq(shown.events_maxlen, s.events_maxlen);
    cr_expect_eq(shown.events_max_buffered_events, s.events_max_buffered_events);
    cr_expect_eq(shown.timeseries_maxlen, s.timeseries_maxlen);
    cr_expect_eq(shown.timeseries_flush_interval_us, s.timeseries_flush_interval_us);
    cr_expect_eq(shown.timeseries_expire_after_us, s.timeseries_expire_after_us);
    buf_release(&problems);
    settings_release(&shown);
    settings_release(&s);
}
