/* Runs the required tests of one draft of the official JSON-Schema-Test-Suite.
 *
 * They are looked for in Debian's package json-schema-test-suite (drafts 4, 6, 7), and in the folder
 * that JSON_SCHEMA_TEST_SUITE names, by default `shared/json-schema-test-suite` beside the checkout.
 * The tests of 2019-09 run as tests of 2020-12, too, where both mean the same (translate.h).
 *
 * Only references within a document resolve, by design: tests that need another document are listed
 * by name, counted, and not run.  Exit code 77: there are no tests of this draft here. */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "translate.h"

#include <dirent.h>
#include <ftw.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SKIPPED = 77 };

static const char debian_folder[] = "/usr/share/json-schema-test-suite";

static const struct draft {
    const char *folder, *uri;
} drafts[] = {
    {"draft4", "http://json-schema.org/draft-04/schema#"},
    {"draft6", "http://json-schema.org/draft-06/schema#"},
    {"draft7", "http://json-schema.org/draft-07/schema#"},
    {"draft2019-09", "https://json-schema.org/draft/2019-09/schema"},
    {"draft2020-12", "https://json-schema.org/draft/2020-12/schema"},
};

struct run {
    const struct draft *draft;
    bool translated; /* the files are those of 2019-09 */
    int passed, failed, remote, other;
};

/* --- documents that would have to be fetched --- */

static char remotes[64 << 10]; /* names of the files in remotes/, each between blanks */

static int note_remote(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    const size_t len = strlen(remotes);
    if (kind == FTW_F && len + strlen(path + where->base) + 3 < sizeof remotes)
        sprintf(remotes + len, " %s ", path + where->base);
    return 0;
}

/* Was it refused for a reference to a file of remotes/? */
static bool is_remote(const char *why)
{
    static const char start[] = "unresolvable reference '";
    const char *at = strstr(why, start);
    if (!at)
        return false;
    at += sizeof start - 1;
    size_t len = strcspn(at, "'#");
    for (size_t i = len; i > 0; i--) {
        if (at[i - 1] != '/')
            continue;
        at += i;
        len -= i;
        break;
    }
    char name[256];
    snprintf(name, sizeof name, " %.*s%s ", (int)len, at, memchr(at, '.', len) ? "" : ".json");
    /* "http://localhost:1234/name" and, by its `id`, a document of another name. */
    return strstr(remotes, name) || strstr(why, "'http://localhost:1234/");
}

/* A $schema of one's own, which would have to be fetched to see that it leaves out a vocabulary. */
static bool is_remote_dialect(const char *file, const char *group)
{
    return strcmp(file, "vocabulary.json") == 0 && strstr(group, "uses custom metaschema");
}

/* The dialect of a test is that of its folder, said by $schema. */
static struct json_object *with_dialect(struct json_object *schema, const char *uri)
{
    if (!json_object_is_type(schema, json_type_object) ||
        json_object_object_get_ex(schema, "$schema", NULL))
        return json_object_get(schema);
    struct json_object *copy = NULL;
    json_object_deep_copy(schema, &copy, NULL);
    json_object_object_add(copy, "$schema", json_object_new_string(uri));
    return copy;
}

static void not_run(struct run *n, const char *file, const char *group, int n_tests,
                    const char *why)
{
    printf("  not run  %s%s/%s: %s (%d tests): %s\n", n->draft->folder,
           n->translated ? " from 2019-09" : "", file, group, n_tests, why);
}

static void run_tests(struct run *n, const char *file, const char *group,
                      const struct json_schema *schema, struct json_object *tests)
{
    for (size_t i = 0; i < json_object_array_length(tests); i++) {
        struct json_object *test = json_object_array_get_idx(tests, i), *data = NULL;
        json_object_object_get_ex(test, "data", &data);
        struct error why = ERROR_INIT;
        int rc = json_schema_validate(schema, data, &why);
        const bool expected = json_get_bool(test, "valid", false);
        if (expected ? rc == 0 : rc == ERR_INVALID && strncmp(why.message, "$", 1) == 0) {
            n->passed++;
            continue;
        }
        n->failed++;
        printf("  FAILED  %s/%s: %s: %s: expected %s, got %d %s\n", n->draft->folder, file, group,
               json_get_string(test, "description", ""), expected ? "valid" : "invalid", rc,
               why.message);
    }
}

static void run_group(struct run *n, const char *file, struct json_object *group)
{
    const char *name = json_get_string(group, "description", "");
    struct json_object *tests = NULL, *given = NULL;
    json_object_object_get_ex(group, "schema", &given);
    json_object_object_get_ex(group, "tests", &tests);
    AUTO_JSON *with = with_dialect(given, n->draft->uri);
    struct json_schema *schema = NULL;
    struct error err = ERROR_INIT;
    int rc = json_schema_compile(with, 0, &schema, &err);
    const int n_tests = (int)json_object_array_length(tests);
    if (is_remote_dialect(file, name) || (rc && is_remote(err.message))) {
        not_run(n, file, name, n_tests, rc ? err.message : "its $schema is a remote document");
        n->remote += n_tests;
    } else if (rc) {
        printf("  FAILED  %s/%s: %s: not compiled: %s\n", n->draft->folder, file, name,
               err.message);
        n->failed += n_tests;
    } else {
        run_tests(n, file, name, schema, tests);
    }
    json_schema_unref(schema);
}

static void run_translated(struct run *n, const char *file, struct json_object *group)
{
    AUTO_JSON *translated = translate_group(group);
    if (translated) {
        run_group(n, file, translated);
        return;
    }
    struct json_object *tests = NULL;
    json_object_object_get_ex(group, "tests", &tests);
    const int n_tests = (int)json_object_array_length(tests);
    not_run(n, file, json_get_string(group, "description", ""), n_tests,
            "2020-12 has no such thing, or has it otherwise");
    n->other += n_tests;
}

static void run_file(struct run *n, const char *folder, const char *file)
{
    AUTO(buf) path = BUF_INIT(4096);
    buf_printf(&path, "%s/%s", folder, file);
    AUTO_JSON *groups = json_object_from_file(path.data);
    if (!groups) {
        printf("  FAILED  %s: cannot be read\n", path.data);
        n->failed++;
        return;
    }
    for (size_t i = 0; i < json_object_array_length(groups); i++) {
        struct json_object *group = json_object_array_get_idx(groups, i);
        if (n->translated)
            run_translated(n, file, group);
        else
            run_group(n, file, group);
    }
}

static int is_json(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && strcmp(dot, ".json") == 0;
}

/* false: there is no such folder */
static bool run_folder(struct run *n, const char *suite, const char *draft)
{
    AUTO(buf) folder = BUF_INIT(4096);
    buf_printf(&folder, "%s/remotes", suite);
    remotes[0] = '\0';
    nftw(folder.data, note_remote, 8, FTW_PHYS);
    buf_clear(&folder);
    buf_printf(&folder, "%s/tests/%s", suite, draft);
    struct dirent **files = NULL;
    int n_files = scandir(folder.data, &files, is_json, alphasort);
    if (n_files < 0)
        return false;
    for (int i = 0; i < n_files; i++) {
        run_file(n, folder.data, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    return true;
}

/* 0: all passed; 1: not all; SKIPPED */
static int run_suite(const struct draft *draft, const char *suite, bool translated)
{
    struct run n = {.draft = draft, .translated = translated};
    if (!run_folder(&n, suite, translated ? "draft2019-09" : draft->folder))
        return SKIPPED;
    printf("%s%s in %s: %d passed, %d failed (%.2f %%), not run: %d need remote documents, "
           "%d mean another thing\n",
           draft->folder, translated ? " from 2019-09" : "", suite, n.passed, n.failed,
           n.passed * 100.0 / (n.passed + n.failed ? n.passed + n.failed : 1), n.remote, n.other);
    return n.failed || !n.passed;
}

int main(int argc, char **argv)
{
    const struct draft *draft = NULL;
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++)
        if (argc == 2 && strcmp(argv[1], drafts[i].folder) == 0)
            draft = &drafts[i];
    if (!draft) {
        fputs("Usage: unit_json_schema_suite draft4|draft6|draft7|draft2019-09|draft2020-12\n",
              stderr);
        return 2;
    }
    const char *more = getenv("JSON_SCHEMA_TEST_SUITE");
    if (!more)
        more = BESIDE_CHECKOUT "/shared/json-schema-test-suite";
    const int results[] = {
        run_suite(draft, debian_folder, false),
        run_suite(draft, more, false),
        strcmp(draft->folder, "draft2020-12") == 0 ? run_suite(draft, more, true) : SKIPPED,
    };
    int status = SKIPPED;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i] == 1 || status == SKIPPED)
            status = results[i];
    if (status == SKIPPED)
        printf("%s: skipped, there are no tests of it in %s and %s\n", draft->folder, debian_folder,
               more);
    return status;
}
