/* Runs the required tests of the official JSON-Schema-Test-Suite: drafts 4, 6 and 7 from Debian's
 * package json-schema-test-suite, and those of the folder that JSON_SCHEMA_TEST_SUITE names.
 *
 * A draft whose folder is absent is skipped by name.  Tests that need a document from elsewhere are
 * expected to be refused when the schema is compiled; they are counted and listed. */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"

#include <dirent.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct counts {
    int passed, failed, remote;
};

/* refRemote.json is about documents that have to be fetched. */
static bool is_remote(const char *file, const char *why)
{
    return strcmp(file, "refRemote.json") == 0 && strstr(why, "unresolvable reference");
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

static void run_group(const struct draft *draft, const char *file, struct json_object *group,
                      struct counts *n)
{
    const char *name = json_get_string(group, "description", "");
    struct json_object *tests = NULL, *given = NULL;
    json_object_object_get_ex(group, "schema", &given);
    json_object_object_get_ex(group, "tests", &tests);
    AUTO_JSON *with = with_dialect(given, draft->uri);
    struct json_schema *schema = NULL;
    struct error err = ERROR_INIT;
    int rc = json_schema_compile(with, 0, &schema, &err);
    const int n_tests = (int)json_object_array_length(tests);
    if ((rc && is_remote(file, err.message)) || is_remote_dialect(file, name)) {
        printf("  remote  %s/%s: %s (%d tests)\n", draft->folder, file, name, n_tests);
        n->remote += n_tests;
        json_schema_unref(schema);
        return;
    }
    if (rc) {
        printf("  FAILED  %s/%s: %s: not compiled: %s\n", draft->folder, file, name, err.message);
        n->failed += n_tests;
        return;
    }
    for (int i = 0; i < n_tests; i++) {
        struct json_object *test = json_object_array_get_idx(tests, (size_t)i), *data = NULL;
        json_object_object_get_ex(test, "data", &data);
        struct error why = ERROR_INIT;
        rc = json_schema_validate(schema, data, &why);
        const bool expected = json_get_bool(test, "valid", false);
        if (expected ? rc == 0 : rc == ERR_INVALID && strncmp(why.message, "$", 1) == 0) {
            n->passed++;
            continue;
        }
        n->failed++;
        printf("  FAILED  %s/%s: %s: %s: expected %s, got %d %s\n", draft->folder, file, name,
               json_get_string(test, "description", ""), expected ? "valid" : "invalid", rc,
               why.message);
    }
    json_schema_unref(schema);
}

static void run_file(const struct draft *draft, const char *folder, const char *file,
                     struct counts *n)
{
    AUTO(buf) path = BUF_INIT(4096);
    buf_printf(&path, "%s/%s", folder, file);
    AUTO_JSON *groups = json_object_from_file(path.data);
    if (!groups) {
        printf("  FAILED  %s: cannot be read\n", path.data);
        n->failed++;
        return;
    }
    for (size_t i = 0; i < json_object_array_length(groups); i++)
        run_group(draft, file, json_object_array_get_idx(groups, i), n);
}

static int is_json(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && strcmp(dot, ".json") == 0;
}

/* false: there is no such folder */
static bool run_draft(const struct draft *draft, const char *suite, struct counts *total)
{
    AUTO(buf) folder = BUF_INIT(4096);
    buf_printf(&folder, "%s/tests/%s", suite, draft->folder);
    struct dirent **files = NULL;
    int n_files = scandir(folder.data, &files, is_json, alphasort);
    if (n_files < 0)
        return false;
    struct counts n = {0};
    for (int i = 0; i < n_files; i++) {
        run_file(draft, folder.data, files[i]->d_name, &n);
        free(files[i]);
    }
    free(files);
    printf("%s in %s: %d passed, %d failed, %d need remote documents\n", draft->folder, suite,
           n.passed, n.failed, n.remote);
    total->passed += n.passed;
    total->failed += n.failed;
    total->remote += n.remote;
    return true;
}

int main(void)
{
    const char *more = getenv("JSON_SCHEMA_TEST_SUITE");
    struct counts total = {0};
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++) {
        bool found = run_draft(&drafts[i], debian_folder, &total);
        if (more)
            found = run_draft(&drafts[i], more, &total) || found;
        if (!found)
            printf("%s: skipped, there are no tests of it here\n", drafts[i].folder);
    }
    printf("%d passed, %d failed, %d need remote documents\n", total.passed, total.failed,
           total.remote);
    if (total.failed)
        return 1;
    return total.passed ? 0 : 77;
}
