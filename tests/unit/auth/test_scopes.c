#include "auth/auth_priv.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

TestSuite(scopes, .timeout = 20);

enum { NOBODY = -1 };

struct scope_case {
    int held; /* how many of `A`, `B`, `C` the user holds, or NOBODY */
    int required;
    bool any, raise;
    enum scope_verdict verdict;
    int status;
    char from; /* first scope the resource asks for */
};

ParameterizedTestParameters(scopes, the_order_is_401_then_501_then_403)
{
    static struct scope_case cases[] = {
        {NOBODY, 0, true, true, SCOPE_NOT_AUTHENTICATED, 401, 'A'},
        {NOBODY, 0, true, false, SCOPE_NOT_AUTHENTICATED, 401, 'A'},
        {NOBODY, 1, true, false, SCOPE_NOT_AUTHENTICATED, 401, 'A'},
        {0, 0, true, true, SCOPE_NOT_SPECIFIED, 501, 'A'},
        {3, 0, false, true, SCOPE_NOT_SPECIFIED, 501, 'A'},
        {0, 0, true, false, SCOPE_PASS, 0, 'A'},
        {0, 0, false, false, SCOPE_PASS, 0, 'A'},
        {0, 1, true, false, SCOPE_FORBIDDEN, 403, 'A'},
        {0, 1, false, true, SCOPE_FORBIDDEN, 403, 'A'},
        {1, 1, false, false, SCOPE_PASS, 0, 'A'},
        {1, 2, true, true, SCOPE_PASS, 0, 'A'},
        {1, 2, false, true, SCOPE_FORBIDDEN, 403, 'A'},
        {2, 2, false, true, SCOPE_PASS, 0, 'A'},
        {1, 2, true, true, SCOPE_FORBIDDEN, 403, 'B'},
        {2, 2, true, true, SCOPE_PASS, 0, 'B'},
        {2, 2, false, true, SCOPE_FORBIDDEN, 403, 'B'},
    };
    return cr_make_param_array(struct scope_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct scope_case *c, scopes, the_order_is_401_then_501_then_403)
{
    static const char *const names[] = {"A", "B", "C"};
    struct user fields = {.username = "ada", .scopes = {names, c->held < 0 ? 0 : (size_t)c->held}};
    const struct user *user = c->held == NOBODY ? NULL : user_new(&fields);
    struct scope_rule rule = {{names + (c->from - 'A'), (size_t)c->required}, c->any, c->raise};
    enum scope_verdict verdict = scope_check(&rule, user);
    cr_expect_eq(verdict, c->verdict);
    const char *detail;
    cr_expect_eq(scope_verdict_status(verdict, &detail), c->status);
    cr_expect_eq(detail[0] == '\0', c->status == 0);
    user_unref(user);
}

Test(scopes, scopes_are_compared_whole_and_by_case)
{
    static const char *const held[] = {"READ"}, *const asked[] = {"read", "READ2", "REA", ""};
    const struct user *user = user_new(&(struct user){.username = "ada", .scopes = {held, 1}});
    struct scope_rule rule = {{asked, 4}, true, false};
    cr_expect_eq(scope_check(&rule, user), SCOPE_FORBIDDEN);
    user_unref(user);
}

Test(scopes, the_texts_are_the_contracts)
{
    const char *detail;
    scope_verdict_status(SCOPE_NOT_AUTHENTICATED, &detail);
    cr_expect_str_eq(detail, "Not Authenticated.");
    scope_verdict_status(SCOPE_NOT_SPECIFIED, &detail);
    cr_expect_str_eq(detail, "No scopes specified.");
    scope_verdict_status(SCOPE_FORBIDDEN, &detail);
    cr_expect_str_eq(detail, "User does not have the required scopes to access this resource.");
}
