#include "auth/auth_priv.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* One allocation: this, the array of scopes, and every text. */
struct shared_user {
    atomic_uint refs;
    struct user user;
    const char *scopes[];
};

static struct shared_user *shared_of(const struct user *user)
{
    return (struct shared_user *)((char *)(uintptr_t)user - offsetof(struct shared_user, user));
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **arena, const char *text)
{
    if (!text)
        return NULL;
    char *copy = *arena;
    *arena = stpcpy(copy, text) + 1;
    return copy;
}

static bool list_has(const struct string_list *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

const struct user *user_new(const struct user *fields)
{
    size_t size = sizeof(struct shared_user) + fields->scopes.n * sizeof(char *) +
                  text_size(fields->username) + text_size(fields->first_name) +
                  text_size(fields->last_name) + text_size(fields->email) +
                  text_size(fields->company) + text_size(fields->country);
    for (size_t i = 0; i < fields->scopes.n; i++)
        size += text_size(fields->scopes.items[i]);
    struct shared_user *s = malloc(size);
    if (!s)
        return NULL;
    char *arena = (char *)(s->scopes + fields->scopes.n);
    atomic_init(&s->refs, 1);
    s->user = (struct user){
        .username = copy_text(&arena, fields->username),
        .first_name = copy_text(&arena, fields->first_name),
        .last_name = copy_text(&arena, fields->last_name),
        .email = copy_text(&arena, fields->email),
        .company = copy_text(&arena, fields->company),
        .country = copy_text(&arena, fields->country),
        .has_upi = fields->has_upi,
        .upi = fields->upi,
        .scopes = {s->scopes, 0},
    };
    for (size_t i = 0; i < fields->scopes.n; i++)
        if (!list_has(&s->user.scopes, fields->scopes.items[i]))
            s->scopes[s->user.scopes.n++] = copy_text(&arena, fields->scopes.items[i]);
    return &s->user;
}

const struct user *user_ref(const struct user *user)
{
    atomic_fetch_add_explicit(&shared_of(user)->refs, 1, memory_order_relaxed);
    return user;
}

void user_unref(const struct user *user)
{
    if (user && atomic_fetch_sub_explicit(&shared_of(user)->refs, 1, memory_order_acq_rel) == 1)
        free(shared_of(user));
}
