#include "auth/auth.h"
#include "base/thread.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(backend_debug, .timeout = 30);

static struct auth *auth;
static struct error err;

static void open_with(const char *scope)
{
    struct auth_debug debug = {.user = {.username = "admin", .upi = 7, .has_upi = true}};
    debug.user.scopes = (struct string_list){&scope, 1};
    cr_assert_eq(auth_open_debug(&debug, &auth, &err), 0);
}

static const struct user *who(void)
{
    const struct user *user = NULL;
    struct auth_credentials nothing = {NULL, "127.0.0.1"};
    cr_assert_eq(auth_authenticate(auth, &nothing, &user, &err), 0);
    return user;
}

Test(backend_debug, every_request_is_the_user_it_was_opened_with)
{
    open_with("READ");
    const struct user *user = who();
    cr_assert_not_null(user);
    cr_expect_str_eq(user->username, "admin");
    cr_expect_null(user->email);
    cr_expect(user->has_upi && user->upi == 7);
    cr_expect(auth_is_debug(auth));
    cr_assert_eq(user->scopes.n, 1);
    cr_expect_str_eq(user->scopes.items[0], "READ");
    user_unref(user);
    auth_close(auth);
}

Test(backend_debug, fixed_scopes_stay_the_only_ones)
{
    const char *const more[] = {"PLANT"};
    struct auth_debug debug = {.user = {.username = "admin"}, .fixed_scopes = true};
    cr_assert_eq(auth_open_debug(&debug, &auth, &err), 0);
    cr_assert_eq(auth_add_scopes(auth, &(struct string_list){more, 1}, &err), 0);
    const struct user *user = who();
    cr_expect_eq(user->scopes.n, 0);
    user_unref(user);
    auth_close(auth);
}

Test(backend_debug, where_a_token_is_required_only_its_own_makes_a_user)
{
    struct auth_debug debug = {
        .user = {.username = "admin"}, .require_token = true, .algorithm = TOKEN_HS512};
    struct auth *other;
    struct buf token = BUF_INIT(1024), foreign = BUF_INIT(1024);
    cr_assert_eq(auth_open_debug(&debug, &auth, &err), 0);
    cr_assert_eq(auth_open_debug(&debug, &other, &err), 0);
    cr_assert_eq(auth_login(auth, "ada", "any", &token, &err), 0);
    cr_assert_eq(auth_login(other, "ada", "any", &foreign, &err), 0);
    const struct {
        const char *bearer;
        bool known;
    } cases[] = {{NULL, false}, {"", false}, {foreign.data, false}, {token.data, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct user *user = NULL;
        struct auth_credentials credentials = {cases[i].bearer, "127.0.0.1"};
        cr_assert_eq(auth_authenticate(auth, &credentials, &user, &err), 0);
        cr_expect_eq(user != NULL, cases[i].known, "case %zu", i);
        user_unref(user);
    }
    buf_release(&token);
    buf_release(&foreign);
    auth_close(auth);
    auth_close(other);
}

Test(backend_debug, scopes_of_sources_are_added_once_and_users_stay_as_they_were)
{
    open_with("READ");
    const struct user *before = who();
    const char *const more[] = {"PLANT", "READ", "PLANT"};
    cr_assert_eq(auth_add_scopes(auth, &(struct string_list){more, 3}, &err), 0);
    cr_assert_eq(auth_add_scopes(auth, &(struct string_list){NULL, 0}, &err), 0);
    const struct user *after = who();
    auth_close(auth);
    cr_expect_eq(before->scopes.n, 1);
    cr_assert_eq(after->scopes.n, 2);
    cr_expect_str_eq(after->scopes.items[1], "PLANT");
    user_unref(before);
    user_unref(after);
}

static void *ask(void *arg)
{
    size_t *last = arg;
    for (int i = 0; i < 2000; i++) {
        const struct user *user = who();
        cr_assert(user->scopes.n >= *last, "a scope was lost");
        *last = user->scopes.n;
        user_unref(user);
    }
    return NULL;
}

Test(backend_debug, requests_and_new_sources_may_meet)
{
    open_with("READ");
    pthread_t threads[3];
    size_t last[3] = {0};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(thread_start(&threads[i], "ask", ask, &last[i], &err), 0);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "S%d", i);
        const char *scope = name;
        cr_assert_eq(auth_add_scopes(auth, &(struct string_list){&scope, 1}, &err), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    const struct user *user = who();
    cr_expect_eq(user->scopes.n, 201);
    user_unref(user);
    auth_close(auth);
}
