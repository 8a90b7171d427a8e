/* hyprxa schema validate: the verdict of the server, before there is a topic. */
#include "cli.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "base/json_schema.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_SIZE_MAX = 64 << 20,
    DEPTH_MAX = JSON_DEPTH_MAX - 1, /* in a request they stand inside an object */
};

struct arguments {
    const char *schema, *instance;
    bool all;
    unsigned flags;
};

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'}, {"format", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            a->all = true;
            break;
        case 'f':
            a->flags |= JSON_SCHEMA_ASSERT_FORMAT;
            break;
        default:
            return cli_usage(&cli_schema_validate, "unknown option '%s'", argv[optind - 1]);
        }
    }
    if (argc - optind != 2)
        return cli_usage(&cli_schema_validate, "a schema and an instance are needed");
    a->schema = argv[optind];
    a->instance = argv[optind + 1];
    if (strcmp(a->schema, "-") == 0 && strcmp(a->instance, "-") == 0)
        return cli_usage(&cli_schema_validate, "only one of them can be standard input");
    return 0;
}

/* The JSON text in a file; `bad` is the exit status if it is none. */
static int read_json(const char *path, int bad, struct json_object **ret)
{
    AUTO(buf) text = BUF_INIT(FILE_SIZE_MAX);
    struct json_scan_error where = {.message = NULL};
    struct error err = ERROR_INIT;
    int status = cli_read(path, &text);
    if (status)
        return status;
    const char *bytes = text.data ? text.data : "";
    int rc = json_scan(bytes, text.len, DEPTH_MAX, NULL, NULL, 0, &where);
    if (rc == ERR_INVALID)
        error_set(&err, rc, "%s: line %zu column %zu (char %zu)", where.message, where.line,
                  where.column, where.characters);
    else
        rc = rc ? error_set(&err, rc, "out of memory") : json_parse(bytes, text.len, ret, &err);
    if (!rc)
        return 0;
    fprintf(stderr, "hyprxa: %s: %s\n", cli_file_name(path), err.message);
    return rc == ERR_NOMEM ? CLI_FAILED : bad;
}

static void print_failure(void *ctx, const char *pointer, const char *path, const char *why)
{
    (void)ctx;
    (void)pointer;
    printf("%s-%s\n", path, why);
}

static int print_verdict(const struct json_schema *schema, struct json_object *instance, bool all)
{
    struct error err = ERROR_INIT;
    if (all)
        return json_schema_validate_all(schema, instance, print_failure, NULL) ? CLI_NO : CLI_OK;
    int rc = json_schema_validate(schema, instance, &err);
    if (!rc)
        return CLI_OK;
    FILE *out = rc == ERR_NOMEM ? stderr : stdout;
    fprintf(out, "%s\n", err.message);
    return rc == ERR_NOMEM ? CLI_FAILED : CLI_NO;
}

static int run(int argc, char **argv)
{
    struct arguments a = {.all = false};
    int status = parse_arguments(argc, argv, &a);
    if (status)
        return status;
    AUTO_JSON *document = NULL;
    AUTO_JSON *instance = NULL;
    status = read_json(a.schema, CLI_BAD_SCHEMA, &document);
    if (!status)
        status = read_json(a.instance, CLI_DATA, &instance);
    if (status)
        return status;
    struct json_schema *schema = NULL;
    struct error err = ERROR_INIT;
    int rc = json_schema_compile(document, a.flags, &schema, &err);
    if (rc) {
        fprintf(stderr, "%s\n", err.message);
        return rc == ERR_NOMEM ? CLI_FAILED : CLI_BAD_SCHEMA;
    }
    status = print_verdict(schema, instance, a.all);
    json_schema_unref(schema);
    return status;
}

const struct cli_command cli_schema_validate = {
    .group = "schema",
    .name = "validate",
    .summary = "check a JSON file against a JSON Schema, as the server does",
    .help =
        "Usage: hyprxa schema validate [--all] [--format] SCHEMA INSTANCE\n"
        "\n"
        "Check the JSON in INSTANCE against the JSON Schema in SCHEMA, with the code and the "
        "verdict\n"
        "of the server: that of /topics/save on the schema, that of /events/publish on an event's\n"
        "payload (where both must be objects).  '-' is standard input, for one of the two.\n"
        "\n"
        "Drafts 4, 6, 7, 2019-09 and 2020-12, by \"$schema\"; without it 2020-12, or draft 7 when "
        "there\n"
        "are \"definitions\".  References resolve within the schema only.\n"
        "\n"
        "  --all     print every failure, one a line; without it the most relevant one\n"
        "  --format  check \"format\" too, which the server takes for a comment\n"
        "\n"
        "Exit status:\n"
        "  0   valid\n"
        "  1   not valid; the reason is on standard output: $.v-'x' is not of type 'number'\n"
        "  2   SCHEMA is not a JSON Schema; the reason is on standard error\n"
        "  64  the command line is wrong\n"
        "  65  INSTANCE is not JSON\n"
        "  66  a file cannot be read\n"
        "  70  out of memory\n",
    .run = run,
};
