#include "storage/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>

enum {
    PATTERN_MAX = 4096,
    MATCH_STEPS_MAX = 100000,
    MATCH_DEPTH_MAX = 2000,
    MATCH_HEAP_KIB = 1024,
};

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static uint32_t pcre2_options(unsigned options)
{
    uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
    if (options & REGEX_IGNORE_CASE)
        flags |= PCRE2_CASELESS;
    if (options & REGEX_MULTILINE)
        flags |= PCRE2_MULTILINE;
    if (options & REGEX_DOT_ALL)
        flags |= PCRE2_DOTALL;
    if (options & REGEX_EXTENDED)
        flags |= PCRE2_EXTENDED;
    return flags;
}

int regex_new(const char *pattern, size_t len, unsigned options, struct regex **ret,
              struct error *err)
{
    if (len > PATTERN_MAX)
        return error_set(err, ERR_INVALID, "regular expression: longer than %d bytes", PATTERN_MAX);
    struct regex *re = calloc(1, sizeof *re);
    if (!re)
        return error_set(err, ERR_NOMEM, "out of memory");
    int code;
    PCRE2_SIZE offset;
    re->code =
        pcre2_compile((PCRE2_SPTR)pattern, len, pcre2_options(options), &code, &offset, NULL);
    if (!re->code) {
        PCRE2_UCHAR words[160];
        if (pcre2_get_error_message(code, words, sizeof words) < 0)
            words[0] = '\0';
        regex_free(re);
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return error_set(err, ERR_NOMEM, "out of memory");
        return error_set(err, ERR_INVALID, "regular expression, offset %zu: %s", (size_t)offset,
                         (const char *)words);
    }
    re->data = pcre2_match_data_create_from_pattern(re->code, NULL);
    re->limits = pcre2_match_context_create(NULL);
    if (!re->data || !re->limits) {
        regex_free(re);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    pcre2_set_match_limit(re->limits, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(re->limits, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(re->limits, MATCH_HEAP_KIB);
    *ret = re;
    return 0;
}

void regex_free(struct regex *re)
{
    if (!re)
        return;
    pcre2_match_context_free(re->limits);
    pcre2_match_data_free(re->data);
    pcre2_code_free(re->code);
    free(re);
}

int regex_search(struct regex *re, const char *text, size_t len, struct error *err)
{
    int rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, 0, 0, re->data, re->limits);
    if (rc >= 0)
        return 1;
    switch (rc) {
    case PCRE2_ERROR_NOMATCH:
        return 0;
    case PCRE2_ERROR_NOMEMORY:
        return error_set(err, ERR_NOMEM, "out of memory");
    default:
        return error_set(err, ERR_LIMIT, "regular expression: too many steps");
    }
}
