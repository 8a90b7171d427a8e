/* hyprxad: flags, signals, and nothing else. */
#include "app/app.h"
#include "base/auto.h"
#include "base/log.h"
#include "base/notify.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CONFIG = 78, TEXT_MAX = 1 << 20 }; /* EX_CONFIG of sysexits.h */
enum { WATCHDOG_END_MS = 15000 };              /* a database that is away is waited for so long */

static const char logger[] = "hyprxa.main";

static const char usage[] =
    "Usage: hyprxad [FLAG]...\n"
    "Serve plugins' data and events over HTTP.\n"
    "\n"
    "  --config FILE            settings (default: /etc/hyprxa/hyprxa.yaml where it exists)\n"
    "  --conf-dir DIR           sources, one or more per *.yaml file\n"
    "  --plugin-dir DIR         plugins, *.so\n"
    "  --data-dir DIR           databases; made when absent\n"
    "  --listen ADDR:PORT       may be given several times; port 0 takes a free one\n"
    "  --check                  check settings, sources and plugins, start nothing; exit 0 or 78\n"
    "  --debug-auth[=insecure]  every request is admin: on loopback, or anywhere\n"
    "  --allow-plain            plain HTTP on other than loopback addresses\n"
    "  --log-level LEVEL        debug, info, warning, error or critical\n"
    "  --version, --help\n"
    "\n"
    "Every flag has an environment variable (HYPRXA_CONF_DIR ...) and a key in FILE.\n"
    "\n"
    "Settings:\n";

enum flag {
    FLAG_CONFIG = 256,
    FLAG_CONF_DIR,
    FLAG_PLUGIN_DIR,
    FLAG_DATA_DIR,
    FLAG_LISTEN,
    FLAG_CHECK,
    FLAG_DEBUG_AUTH,
    FLAG_ALLOW_PLAIN,
    FLAG_LOG_LEVEL,
    FLAG_VERSION,
    FLAG_HELP
};

static const struct option options[] = {
    {"config", required_argument, NULL, FLAG_CONFIG},
    {"conf-dir", required_argument, NULL, FLAG_CONF_DIR},
    {"plugin-dir", required_argument, NULL, FLAG_PLUGIN_DIR},
    {"data-dir", required_argument, NULL, FLAG_DATA_DIR},
    {"listen", required_argument, NULL, FLAG_LISTEN},
    {"check", no_argument, NULL, FLAG_CHECK},
    {"debug-auth", optional_argument, NULL, FLAG_DEBUG_AUTH},
    {"allow-plain", no_argument, NULL, FLAG_ALLOW_PLAIN},
    {"log-level", required_argument, NULL, FLAG_LOG_LEVEL},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

static int print_help(void)
{
    AUTO(buf) text = BUF_INIT(TEXT_MAX);
    settings_describe(&text);
    fputs(usage, stdout);
    fputs(text.data ? text.data : "", stdout);
    return EXIT_SUCCESS;
}

/* The flags that come before everything else; -1: go on. */
static int early_flags(int argc, char **argv, const char **ret_config, bool *ret_check)
{
    int flag;
    while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (flag) {
        case FLAG_HELP:
            return print_help();
        case FLAG_VERSION:
            puts("hyprxad " HYPRXA_VERSION);
            return EXIT_SUCCESS;
        case FLAG_CONFIG:
            *ret_config = optarg;
            break;
        case FLAG_CHECK:
            *ret_check = true;
            break;
        case '?':
            fputs("Try 'hyprxad --help'.\n", stderr);
            return EXIT_CONFIG;
        default:
            break;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "hyprxad: unexpected argument '%s'\nTry 'hyprxad --help'.\n", argv[optind]);
        return EXIT_CONFIG;
    }
    return -1;
}

static int setting_flags(int argc, char **argv, struct settings *s, struct error *err)
{
    int flag, rc = 0;
    optind = 1;
    while (!rc && (flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (flag) {
        case FLAG_CONF_DIR:
            rc = settings_set(s, "HYPRXA_CONF_DIR", optarg, err);
            break;
        case FLAG_PLUGIN_DIR:
            rc = settings_set(s, "HYPRXA_PLUGIN_DIR", optarg, err);
            break;
        case FLAG_DATA_DIR:
            rc = settings_set(s, "HYPRXA_DATA_DIR", optarg, err);
            break;
        case FLAG_LISTEN:
            rc = settings_append(s, "HYPRXA_LISTEN", optarg, err);
            break;
        case FLAG_DEBUG_AUTH:
            rc = settings_set(s, "HYPRXA_DEBUG_AUTH", optarg ? optarg : "true", err);
            break;
        case FLAG_ALLOW_PLAIN:
            rc = settings_set(s, "HYPRXA_ALLOW_PLAIN", "true", err);
            break;
        case FLAG_LOG_LEVEL:
            rc = settings_set(s, "HYPRXA_LOG_LEVEL", optarg, err);
            break;
        default:
            break;
        }
    }
    return rc;
}

/* Each line of `problems` is one log line. */
static void log_problems(struct buf *problems)
{
    for (char *line = problems->data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            break;
        *end = '\0';
        log_error(logger, "%s", line);
    }
    buf_clear(problems);
}

static void log_addresses(const struct settings *settings, const struct app *app)
{
    for (size_t i = 0; i < settings->hyprxa_listen.n; i++) {
        const char *listen = settings->hyprxa_listen.items[i];
        int host = (int)(strrchr(listen, ':') ? strrchr(listen, ':') - listen : 0);
        log_info(logger, "listening on http://%.*s:%u", host, listen, app_port(app, i));
    }
}

static int makes_progress(void *ctx, struct error *err)
{
    return app_check_progress(ctx, err);
}

/* Until SIGTERM or SIGINT, which the caller has blocked. */
static void run(struct app *app, struct notify *notify, const sigset_t *signals)
{
    struct error err = ERROR_INIT;
    int signal_number = 0;
    if (notify_watch(notify, makes_progress, app, &err))
        log_error(logger, "no watchdog: %s", err.message);
    notify_send(notify, "READY=1\nSTATUS=Serving");
    while (sigwait(signals, &signal_number) == 0 && signal_number == SIGHUP)
        log_warning(logger, "SIGHUP: the configuration is read at start only");
    log_info(logger, "stopping");
    notify_send(notify, "STOPPING=1\nSTATUS=Stopping: telling the streams, flushing the queues");
}

static int serve(const struct settings *settings, const struct source_configs *sources,
                 struct buf *problems, const sigset_t *signals)
{
    struct error err = ERROR_INIT;
    struct app *app = NULL;
    struct notify *notify;
    if (notify_open(&notify, &err))
        log_error(logger, "no word to the service manager: %s", err.message);
    int rc = app_start(settings, sources, problems, &app, &err);
    log_problems(problems);
    if (rc) {
        log_critical(logger, "cannot start: %s", err.message);
        notify_close(notify);
        return rc == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILURE;
    }
    log_addresses(settings, app);
    run(app, notify, signals);
    if (!notify_unwatch(notify, WATCHDOG_END_MS)) {
        log_error(logger, "the storage does not answer; ending the process without it");
        _exit(EXIT_FAILURE);
    }
    notify_close(notify);
    if (app_stop(app))
        return EXIT_SUCCESS;
    log_error(logger, "a plugin's thread ignored stop; ending the process without it");
    _exit(EXIT_SUCCESS);
}

static int check(const struct settings *settings, const struct source_configs *sources,
                 struct buf *problems)
{
    struct error err = ERROR_INIT;
    app_check(settings, sources, problems, &err);
    if (problems->len) {
        fputs(problems->data, stderr);
        return EXIT_CONFIG;
    }
    printf("%zu source(s) in '%s': no problems found\n", sources->n, settings->hyprxa_conf_dir);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    AUTO(buf) problems = BUF_INIT(TEXT_MAX);
    struct error err = ERROR_INIT;
    struct settings settings;
    struct source_configs sources = {0};
    sigset_t signals;
    const char *config = settings_default_file();
    bool only_check = false;

    int status = early_flags(argc, argv, &config, &only_check);
    if (status >= 0)
        return status;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is as a full disk: an error, not the end */

    int rc = settings_load(&settings, config, &problems, &err);
    if (!rc) {
        rc = setting_flags(argc, argv, &settings, &err);
        if (rc)
            buf_printf(&problems, "%s\n", err.message);
    }
    enum log_level level;
    if (!rc && log_level_from_name(settings.hyprxa_log_level, &level))
        log_set_level(level);
    if (!rc) {
        int sources_rc = source_configs_read(settings.hyprxa_conf_dir, &sources, &problems, &err);
        if (sources_rc && !problems.len)
            buf_printf(&problems, "%s\n", err.message);
    }
    if (rc) {
        fputs(problems.data ? problems.data : err.message, stderr);
        status = EXIT_CONFIG;
    } else {
        status = only_check ? check(&settings, &sources, &problems)
                            : serve(&settings, &sources, &problems, &signals);
    }
    source_configs_release(&sources);
    settings_release(&settings);
    return status;
}
