#include "support.h"

#include "base/json.h"
#include "base/json_schema.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(loader, .timeout = 30);

Test(loader, tells_what_the_plugin_says_of_itself)
{
    struct plugin *p = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(plugin_open(FIXTURES, "good", &p, &err), 0, "%s", err.message);
    cr_expect_str_eq(plugin_name(p), "good");
    cr_expect_str_eq(plugin_version(p), "1.0");
    cr_expect_str_eq(plugin_scopes(p)[0], "GOOD-READ");
    cr_expect_str_eq(plugin_scopes(p)[1], "GOOD-ADMIN");
    cr_expect_null(plugin_scopes(p)[2]);
    cr_expect(plugin_scopes_any(p));
    AUTO_JSON *item = NULL;
    static const char text[] = "{\"source\":\"x\"}";
    cr_assert_eq(json_parse(text, sizeof text - 1, &item, NULL), 0);
    cr_expect_eq(json_schema_validate(plugin_subscription_schema(p), item, &err), ERR_INVALID);
    plugin_unref(p);
}

Test(loader, without_scopes_gives_an_empty_list)
{
    struct plugin *p = NULL;
    cr_assert_eq(plugin_open(FIXTURES, "late", &p, NULL), 0);
    cr_expect_null(plugin_scopes(p)[0]);
    cr_expect_not(plugin_scopes_any(p));
    plugin_unref(p);
}

Test(loader, opens_a_file_once_by_name_and_by_path)
{
    struct plugin *by_name = NULL, *by_path = NULL;
    cr_assert_eq(plugin_open(FIXTURES, "good", &by_name, NULL), 0);
    cr_assert_eq(plugin_open("/nowhere", FIXTURES "/good.so", &by_path, NULL), 0);
    cr_expect_eq(by_name, by_path);
    plugin_unref(by_name);
    cr_expect_str_eq(plugin_name(by_path), "good");
    plugin_unref(by_path);
    cr_assert_eq(plugin_open(FIXTURES, "good", &by_name, NULL), 0);
    plugin_unref(by_name);
}

struct refusal {
    char name[40];
    int code;
    char says[80];
};

ParameterizedTestParameters(loader, refuses_with_the_cause)
{
    static struct refusal cases[] = {
        {"absent", ERR_NOT_FOUND, "/absent.so"},
        {"../good", ERR_INVALID, "bare name"},
        {"good.so/x", ERR_INVALID, "bare name"},
        {"", ERR_INVALID, "bare name"},
        {"/nowhere/good.so", ERR_NOT_FOUND, "/nowhere/good.so"},
        {"no_symbol", ERR_INVALID, "no symbol hyprxa_plugin_v1"},
        {"wrong_major", ERR_UNSUPPORTED, "offers plugin ABI 2, this server needs 1"},
        {"mixed_major", ERR_UNSUPPORTED, "offers plugin ABI 2.0, this server needs 1"},
        {"short_struct", ERR_INVALID, "struct hyprxa_plugin has"},
        {"missing_member", ERR_INVALID, "`connection->run` is NULL"},
        {"bad_schema", ERR_INVALID, "`options_schema` is not a valid JSON Schema"},
        {"init_fails", ERR_UNSUPPORTED, "init: the driver is not installed"},
    };
    return cr_make_param_array(struct refusal, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct refusal *c, loader, refuses_with_the_cause, .timeout = 30)
{
    struct plugin *p = NULL;
    struct error err = ERROR_INIT;
    int rc = plugin_open(FIXTURES, c->name, &p, &err);
    cr_expect_eq(rc, c->code, "'%s' gives %d: %s", c->name, rc, err.message);
    cr_expect(strstr(err.message, c->says) != NULL, "'%s': %s", c->name, err.message);
    cr_expect_null(p);
}

/* good.so in a folder of its own. */
static void copy_good(const char *folder, char *path, size_t size)
{
    char command[512];
    snprintf(path, size, "%s/good.so", folder);
    snprintf(command, sizeof command, "cp %s/good.so %s", FIXTURES, path);
    cr_assert_eq(system(command), 0);
}

Test(loader, refuses_a_file_that_others_may_write)
{
    char folder[] = "/tmp/hyprxa-loader-XXXXXX", path[128];
    struct plugin *p = NULL;
    struct error err = ERROR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    copy_good(folder, path, sizeof path);
    cr_assert_eq(chmod(path, 0646), 0);
    cr_expect_eq(plugin_open(folder, "good", &p, &err), ERR_INVALID);
    cr_expect(strstr(err.message, "good.so is writable by others") != NULL, "%s", err.message);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_expect_eq(plugin_open(folder, "good", &p, &err), 0);
    plugin_unref(p);
    unlink(path);
    rmdir(folder);
}

Test(loader, refuses_a_folder_that_others_may_write)
{
    char folder[] = "/tmp/hyprxa-loader-XXXXXX", path[128];
    struct plugin *p = NULL;
    struct error err = ERROR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    copy_good(folder, path, sizeof path);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(chmod(folder, 0757), 0);
    cr_expect_eq(plugin_open(folder, "good", &p, &err), ERR_INVALID);
    cr_expect(strstr(err.message, "nothing is loaded from it") != NULL, "%s", err.message);
    unlink(path);
    rmdir(folder);
}
