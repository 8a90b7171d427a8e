#include "config/settings_priv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(dotenv, .timeout = 20);

static int collect(void *ctx, unsigned line, const char *name, const char *value)
{
    buf_printf(ctx, "%u %s=<%s>\n", line, name, value);
    return 0;
}

static void expect_dotenv(const char *text, int rc, const char *assignments, const char *problems)
{
    char path[] = "/tmp/hyprxa-dotenv-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct buf got = BUF_INIT(65536), said = BUF_INIT(65536);
    struct error err;
    cr_expect_eq(dotenv_read(path, collect, &got, &said, &err), rc);
    cr_expect_str_eq(got.data ? got.data : "", assignments);
    const char *shown = said.data ? said.data : "";
    if (strncmp(shown, path, strlen(path)) == 0)
        shown += strlen(path);
    cr_expect_str_eq(shown, problems);
    buf_release(&got);
    buf_release(&said);
    unlink(path);
}

Test(dotenv, values_are_read_bare_quoted_and_exported)
{
    expect_dotenv("# comment\n\nA=1\nexport B = two words  # note\nC='x # y'\nD=\"a\\nb\"\n"
                  "E=\nF\nG=a#b\nH=\"two\nlines\"\nI=last",
                  0,
                  "3 A=<1>\n4 B=<two words>\n5 C=<x # y>\n6 D=<a\nb>\n7 E=<>\n9 G=<a#b>\n"
                  "10 H=<two\nlines>\n12 I=<last>\n",
                  "");
}

Test(dotenv, references_take_the_file_then_the_environment_then_the_default)
{
    setenv("DOTENV_OUTER", "outer", 1);
    expect_dotenv("A=1\nB=${A}-${DOTENV_OUTER}-${DOTENV_NONE:-d}-${DOTENV_NONE}.\nC=$A", 0,
                  "1 A=<1>\n2 B=<1-outer-d-.>\n3 C=<$A>\n", "");
}

Test(dotenv, a_line_that_is_no_assignment_is_named_and_the_rest_is_read)
{
    expect_dotenv("A=1\n=2\nB=3\n", ERR_INVALID, "1 A=<1>\n3 B=<3>\n",
                  ":2: not an assignment: expected NAME=value\n");
    expect_dotenv("A=\"open\nB=3\n", ERR_INVALID, "",
                  ":1: not an assignment: expected NAME=value\n");
}

Test(dotenv, an_absent_file_is_no_error)
{
    struct buf said = BUF_INIT(100);
    struct error err;
    cr_expect_eq(dotenv_read("/nonexistent/.env", collect, NULL, &said, &err), 0);
    cr_expect_eq(said.len, 0);
}
