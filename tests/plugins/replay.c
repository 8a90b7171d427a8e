/* Publishes the samples of a file, then idles.  A line is `ITEM TIME_US QUALITY TYPE VALUE`, TYPE one of
 * null, bool, int, double (as strtod reads it: also nan and inf), text, json; times of an item rise. */
#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#include <stdlib.h>

enum { LINE_MAX_BYTES = 70000 };

static const char subscription_schema[] =
    "{\"type\":\"object\",\"required\":[\"source\",\"item\"],\"properties\":{"
    "\"source\":{\"type\":\"string\"},\"item\":{\"type\":\"string\"}}}";
static const char options_schema[] =
    "{\"type\":\"object\",\"required\":[\"file\"],\"additionalProperties\":false,\"properties\":{"
    "\"file\":{\"type\":\"string\"}}}";

struct replay {
    char file[512];
    hyprxa_subs subs;
    size_t n;
    char line[LINE_MAX_BYTES];
};

static void destroy(void *conn)
{
    free(conn);
}

static hyprxa_status create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err)
{
    struct replay *r = calloc(1, sizeof *r + n * sizeof *subs);
    const struct hyprxa_subscription **copy;
    (void)self;
    if (!r)
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    copy = (const struct hyprxa_subscription **)(void *)(r + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = subs[i];
    r->subs = copy;
    r->n = n;
    hyprxa_json_string(hyprxa_json_get(hyprxa_json_of(ctx->options), "file"), r->file,
                       sizeof r->file);
    *ret = r;
    return HYPRXA_OK;
}

static const struct hyprxa_subscription *find(const struct replay *r, const char *item)
{
    char name[128];
    for (size_t i = 0; i < r->n; i++)
        if (hyprxa_json_string(hyprxa_json_get(hyprxa_json_of(r->subs[i]->json), "item"), name,
                               sizeof name) == HYPRXA_OK &&
            strcmp(name, item) == 0)
            return r->subs[i];
    return NULL;
}

static struct hyprxa_value read_value(const char *type, const char *text)
{
    switch (*type) {
    case 'b':
        return hyprxa_bool(*text == 't');
    case 'i':
        return hyprxa_int64(strtoll(text, NULL, 10));
    case 'd':
        return hyprxa_double(strtod(text, NULL));
    case 't':
        return hyprxa_string(text);
    case 'j':
        return hyprxa_text(HYPRXA_JSON, text, strlen(text));
    default:
        return hyprxa_null();
    }
}

static hyprxa_status publish_line(struct replay *r, struct hyprxa_link *link)
{
    char *rest = r->line, *part[4];
    r->line[strcspn(r->line, "\n")] = '\0';
    for (size_t i = 0; i < 4; i++) {
        part[i] = rest;
        rest = strchr(rest, ' ');
        if (!rest)
            return HYPRXA_E_SOURCE;
        *rest++ = '\0';
    }
    const struct hyprxa_subscription *subscription = find(r, part[0]);
    if (!subscription)
        return HYPRXA_OK;
    struct hyprxa_sample s =
        hyprxa_sample_at(strtoll(part[1], NULL, 10), read_value(part[3], rest));
    s.quality = (uint32_t)strtoul(part[2], NULL, 10);
    struct hyprxa_batch batch = {subscription, &s, 1};
    hyprxa_status status = hyprxa_publish(link, &batch, 1, -1);
    return status == HYPRXA_E_ORDER ? HYPRXA_OK : status;
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct replay *r = conn;
    FILE *f = fopen(r->file, "r");
    hyprxa_status status = HYPRXA_OK;
    if (!f)
        return hyprxa_error_set(err, HYPRXA_E_SOURCE, "there is no file %s", r->file);
    while (status == HYPRXA_OK && fgets(r->line, sizeof r->line, f))
        status = publish_line(r, link);
    fclose(f);
    if (status != HYPRXA_OK && status != HYPRXA_E_CANCELED)
        return hyprxa_error_set(err, status, "publish gave %d", (int)status);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

static const struct hyprxa_base_connection connection = {
    .size = sizeof(struct hyprxa_base_connection),
    .run = run,
    .destroy = destroy,
    .create = create,
};
const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof(struct hyprxa_plugin),
    .abi_major = HYPRXA_ABI_MAJOR,
    .abi_minor = HYPRXA_ABI_MINOR,
    .name = "replay",
    .version = "1.0",
    .description = "Publishes the samples of a file.",
    .subscription_schema = subscription_schema,
    .options_schema = options_schema,
    .connection = &connection,
};
