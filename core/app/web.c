#include "app/web.h"

#include "base/auto.h"
#include "base/log.h"
#include "config/config.h"
#include "http/docs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, PROBLEMS_MAX = 1 << 20 };

static const char logger[] = "hyprxa.app";

extern const unsigned char api_json[]; /* api.json */
extern const size_t api_json_len;

/* Where both the build and an installation have them. */
static void default_dir(char out[PATH_SIZE])
{
    static const char beside[] = "/../share/hyprxa/web";
    ssize_t n = readlink("/proc/self/exe", out, PATH_SIZE - sizeof beside);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    snprintf(slash ? slash : out, sizeof beside, "%s", beside);
}

int web_open(const struct settings *s, struct docs **ret, struct error *err)
{
    char dir[PATH_SIZE];
    default_dir(dir);
    struct docs_options options = {.web_dir = *s->hyprxa_web_dir ? s->hyprxa_web_dir : dir,
                                   .version = HYPRXA_VERSION,
                                   .token_path =
                                       s->hyprxa_interactive_auth ? s->hyprxa_token_path : NULL};
    return docs_new(&options, ret, err);
}

int web_describe(struct docs *docs, const struct http_server *server, struct error *err)
{
    AUTO(buf) problems = BUF_INIT(PROBLEMS_MAX);
    int rc = docs_describe(docs, server, api_json, api_json_len, &problems, err);
    if (problems.len)
        log_error(logger, "not described in api.json: %s", problems.data);
    return rc;
}
