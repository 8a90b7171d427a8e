/* Errors of the core as answers: the one table. */
#include "http/http_priv.h"

#include "base/log.h"

#include <string.h>

struct problem {
    int code;
    int status;
    const char *retry_after; /* seconds; NULL: none */
    bool is_ours;            /* the message is for the log; the client learns nothing */
};

static const struct problem problems[] = {
    {ERR_INVALID, 422, NULL, false},    {ERR_NOT_FOUND, 404, NULL, false},
    {ERR_EXISTS, 409, NULL, false},     {ERR_UNSUPPORTED, 400, NULL, false},
    {ERR_LIMIT, 503, "5", false},       {ERR_AGAIN, 503, "5", false},
    {ERR_UNAVAILABLE, 503, "5", false}, {ERR_TIMEOUT, 503, "5", false},
    {ERR_REFUSED, 500, NULL, false},    {ERR_CLOSED, 500, NULL, false},
    {ERR_NOMEM, 500, NULL, true},       {ERR_IO, 500, NULL, true},
    {ERR_CORRUPT, 500, NULL, true},
};

void http_respond_error(struct http_request *r, const struct error *err)
{
    static const struct problem unknown = {0, 500, NULL, true};
    const struct problem *problem = &unknown;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        if (problems[i].code == err->code)
            problem = &problems[i];
    }
    if (problem->is_ours) {
        r->logged = true;
        log_cause(LOG_LEVEL_ERROR, "hyprxa.http", err, "%s %s: %s: %s", r->info->request_method,
                  r->info->local_uri_raw, error_code_name(err->code), err->message);
    }
    if (problem->retry_after)
        http_add_header(r, "Retry-After", problem->retry_after);
    http_respond_detail(r, problem->status,
                        problem->is_ours ? "Internal Server Error" : err->message);
}
