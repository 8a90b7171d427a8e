#include "auth/auth.h"

#include <string.h>

static bool holds(const struct user *user, const char *scope)
{
    for (size_t i = 0; i < user->scopes.n; i++)
        if (strcmp(user->scopes.items[i], scope) == 0)
            return true;
    return false;
}

enum scope_verdict scope_check(const struct scope_rule *rule, const struct user *user)
{
    if (!user)
        return SCOPE_NOT_AUTHENTICATED;
    if (rule->required.n == 0)
        return rule->raise_on_no_scopes ? SCOPE_NOT_SPECIFIED : SCOPE_PASS;
    size_t matches = 0;
    for (size_t i = 0; i < rule->required.n; i++)
        matches += holds(user, rule->required.items[i]);
    size_t needed = rule->any ? 1 : rule->required.n;
    return matches >= needed ? SCOPE_PASS : SCOPE_FORBIDDEN;
}

int scope_verdict_status(enum scope_verdict verdict, const char **ret_detail)
{
    switch (verdict) {
    case SCOPE_PASS:
        *ret_detail = "";
        return 0;
    case SCOPE_NOT_AUTHENTICATED:
        *ret_detail = "Not Authenticated.";
        return 401;
    case SCOPE_NOT_SPECIFIED:
        *ret_detail = "No scopes specified.";
        return 501;
    default:
        *ret_detail = "User does not have the required scopes to access this resource.";
        return 403;
    }
}
