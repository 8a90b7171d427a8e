#include "config/config.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/hyprxa-sources-XXXXXX";

static void in_an_empty_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void remove_folder(void)
{
    static const char *const names[] = {"a.yaml", "b.yml", ".hidden.yaml", "note.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(names[i]);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(sources, .timeout = 20, .init = in_an_empty_folder, .fini = remove_folder);

static struct source_configs all;
static struct error err;

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void expect_problems(const char *expected)
{
    struct buf problems = BUF_INIT(1 << 20);
    int rc = source_configs_read(".", &all, &problems, &err);
    cr_expect_eq(rc, expected[0] ? ERR_INVALID : 0, "%s", err.message);
    cr_expect_str_eq(problems.data ? problems.data : "", expected);
    buf_release(&problems);
}

Test(sources, every_key_is_read)
{
    write_file("a.yaml", "sources:\n"
                         "  boiler:\n"
                         "    plugin: modbus\n"
                         "    isolation: process\n"
                         "    scopes: [PLANT-READ, PLANT-ADMIN]\n"
                         "    any: true\n"
                         "    raise_on_no_scopes: false\n"
                         "    enabled: false\n"
                         "    record:\n"
                         "    - {tag: T1}\n"
                         "    - {tag: T2, source: boiler}\n"
                         "    limits: { max_subscriptions: 500, stale_after: 30s }\n"
                         "    options:\n"
                         "      host: ${BOILER_HOST:-127.0.0.1}\n"
                         "      port: 502\n");
    write_file("b.yml", "sources:\n  host: {plugin: /opt/host.so, record: all}\n");
    write_file("note.txt", "not: [yaml");
    write_file(".hidden.yaml", "not: [yaml");
    expect_problems("");
    cr_assert_eq(all.n, 2);
    const struct source_config *c = &all.items[0];
    cr_expect_str_eq(c->name, "boiler");
    cr_expect_str_eq(c->plugin, "modbus");
    cr_expect(c->isolation_process && !c->enabled && !c->record_all);
    cr_expect_eq(c->scopes_any, 1);
    cr_expect_eq(c->raise_on_no_scopes, 0);
    cr_expect_str_eq(c->scopes[1], "PLANT-ADMIN");
    cr_expect_null(c->scopes[2]);
    cr_expect_eq(c->max_subscriptions, 500);
    cr_expect_eq(c->stale_after_us, 30000000);
    cr_expect_str_eq(
        json_object_to_json_string_ext(c->record, 0),
        "[{\"source\":\"boiler\",\"tag\":\"T1\"},{\"source\":\"boiler\",\"tag\":\"T2\"}]");
    cr_expect_str_eq(json_object_to_json_string_ext(c->options, 0),
                     "{\"host\":\"127.0.0.1\",\"port\":502}");
    char place[256];
    source_config_place(c, "/options/port", place, sizeof place);
    cr_expect_str_eq(place, "./a.yaml:15:13");

    c = &all.items[1];
    cr_expect_str_eq(c->plugin, "/opt/host.so");
    cr_expect(c->record_all && c->enabled && !c->isolation_process && !c->options && !c->record);
    cr_expect_eq(c->scopes_any, -1);
    cr_expect_eq(c->raise_on_no_scopes, -1);
    source_configs_release(&all);
}

Test(sources, good_ones_are_returned_beside_the_problems_of_others)
{
    write_file("a.yaml", "sources:\n"
                         "  good: {plugin: host}\n"
                         "  typo:\n"
                         "    plugn: host\n"
                         "    enabled: yes\n"
                         "  none:\n");
    write_file("b.yml", "sources:\n  good: {plugin: host}\n  fine: {plugin: csv}\nmore: 1\n");
    expect_problems(
        "./a.yaml:4:5: unknown key 'plugn'; expected one of: plugin, isolation, scopes, any, "
        "raise_on_no_scopes, enabled, record, limits, options\n"
        "./a.yaml:5:14: expected a boolean, true or false; found text\n"
        "./a.yaml:3:3: source 'typo' lacks the key 'plugin'\n"
        "./a.yaml:6:8: expected the keys of a source (plugin: ...); found nothing\n"
        "./b.yml:4:1: unknown key 'more'; expected one of: sources\n"
        "./b.yml:2:3: source 'good' is already defined at ./a.yaml:2:9\n");
    cr_assert_eq(all.n, 2);
    cr_expect_str_eq(all.items[0].name, "good");
    cr_expect_str_eq(all.items[1].name, "fine");
    source_configs_release(&all);
}

struct entry_case {
    char entry[100], problem[160];
};

ParameterizedTestParameters(sources, a_bad_value_is_named_with_what_was_expected)
{
    static struct entry_case cases[] = {
        {"plugin: ''", "2:15: expected the name of a plugin in the plugin folder"},
        {"plugin: ../evil", "2:15: expected the name of a plugin in the plugin folder"},
        {"plugin: a/b", "2:15: expected the name of a plugin in the plugin folder"},
        {"plugin: 5", "2:15: expected the name of a plugin; found a whole number"},
        {"plugin: p, isolation: fork", "2:29: expected 'thread' or 'process'"},
        {"plugin: p, scopes: A", "2:26: expected a list of scopes; found text"},
        {"plugin: p, scopes: [A, 5]", "2:30: expected a scope, which is text; found a whole"},
        {"plugin: p, scopes: ['']", "2:27: a scope must not be empty"},
        {"plugin: p, any: 1", "2:23: expected a boolean, true or false; found a whole number"},
        {"plugin: p, record: some", "2:26: expected 'all' or a list of subscriptions; found text"},
        {"plugin: p, record: [x]", "2:27: expected a subscription"},
        {"plugin: p, record: [{source: y}]", "2:36: expected the name of this source, 's'"},
        {"plugin: p, limits: 3", "2:26: expected a group of limits (key: value)"},
        {"plugin: p, limits: {max: 3}", "2:27: unknown key 'max'; expected one of: max_subs"},
        {"plugin: p, limits: {max_subscriptions: 0}", "2:46: expected a whole number from 1 on"},
        {"plugin: p, limits: {stale_after: 30}", "2:40: expected a duration"},
        {"plugin: p, limits: {stale_after: 30 s}", "2:40: expected a duration"},
        {"plugin: p, options: [1]", "2:27: expected the plugin's options (key: value)"},
    };
    return cr_make_param_array(struct entry_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct entry_case *c, sources, a_bad_value_is_named_with_what_was_expected)
{
    char text[256];
    snprintf(text, sizeof text, "sources:\n  s: {%s}\n", c->entry);
    write_file("a.yaml", text);
    struct buf problems = BUF_INIT(65536);
    cr_expect_eq(source_configs_read(".", &all, &problems, &err), ERR_INVALID);
    size_t len = strlen(c->problem);
    cr_expect(strncmp(problems.data + strlen("./a.yaml:"), c->problem, len) == 0, "%s",
              problems.data);
    cr_expect_eq(all.n, 0);
    buf_release(&problems);
    source_configs_release(&all);
}

Test(sources, names_have_limits)
{
    char text[512], name[97];
    memset(name, 'n', 96);
    name[96] = '\0';
    snprintf(text, sizeof text,
             "sources:\n  %s: {plugin: p}\n  %s: {plugin: p}\n  \"\": {plugin: p}\n"
             "  \"a\\tb\": {plugin: p}\n",
             name + 1, name);
    write_file("a.yaml", text);
    expect_problems("./a.yaml:3:3: the name of a source must have 1 to 95 bytes, this has 96\n"
                    "./a.yaml:4:3: the name of a source must have 1 to 95 bytes, this has 0\n"
                    "./a.yaml:5:3: the name of a source must not hold control characters\n");
    cr_expect_eq(all.n, 1);
    source_configs_release(&all);
}

Test(sources, a_file_that_is_no_yaml_does_not_hide_the_others)
{
    write_file("a.yaml", "sources: [\n");
    write_file("b.yml", "sources:\n  fine: {plugin: csv}\n");
    expect_problems(
        "./a.yaml:2:1: did not find expected node content, while parsing a flow node\n");
    cr_expect_eq(all.n, 1);
    source_configs_release(&all);
}

Test(sources, a_missing_folder_is_named)
{
    struct buf problems = BUF_INIT(4096);
    cr_expect_eq(source_configs_read("./absent", &all, &problems, &err), ERR_INVALID);
    cr_expect_str_eq(problems.data, "./absent: No such file or directory\n");
    buf_release(&problems);
}

Test(sources, an_empty_file_and_an_empty_map_define_nothing)
{
    write_file("a.yaml", "# nothing here\n");
    write_file("b.yml", "sources:\n");
    expect_problems("");
    cr_expect_eq(all.n, 0);
    source_configs_release(&all);
}

Test(sources, a_validators_reason_gets_its_place_without_secrets)
{
    setenv("T_SECRET", "hunter22", 1);
    write_file("a.yaml", "sources:\n  s:\n    plugin: p\n    options: {port: '${T_SECRET}'}\n");
    expect_problems("");
    struct buf problems = BUF_INIT(4096);
    cr_expect_eq(source_config_problem(&all.items[0], "/options/port",
                                       "'hunter22' is not of type 'integer'", &problems),
                 0);
    cr_expect_str_eq(problems.data, "./a.yaml:4:21: the value expanded from ${...} is not of type "
                                    "'integer'\n");
    buf_release(&problems);
    source_configs_release(&all);
}

Test(sources, those_of_the_tree_are_in_order)
{
    struct buf problems = BUF_INIT(65536);
    cr_assert_eq(source_configs_read(HYPRXA_SOURCE_DIR "/conf.d", &all, &problems, &err), 0, "%s",
                 problems.data);
    cr_assert_eq(all.n, 2);
    cr_expect_str_eq(all.items[0].plugin, "csv");
    cr_expect_not(all.items[0].enabled, "an example");
    cr_expect_str_eq(all.items[1].plugin, "host");
    cr_expect(all.items[1].enabled);
    cr_expect_gt(json_object_array_length(all.items[1].record), 5);
    source_configs_release(&all);
}
