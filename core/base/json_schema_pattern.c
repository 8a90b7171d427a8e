/* Regular expressions of schemas: ECMA 262 as far as PCRE2 speaks it, under limits. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/auto.h"
#include "base/json_schema_priv.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATTERN_LENGTH_MAX = 4096,
    PATTERN_NESTING_MAX = 40,    /* of parentheses: pcre2_compile() recurses */
    PATTERN_STEPS_MAX = 100000,  /* PCRE2's match limit: some milliseconds */
    PATTERN_HEAP_MAX_KIB = 2048, /* for backtracking */
};

struct pattern {
    pcre2_code *code;
};

struct pattern_spare {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* PCRE2 10.42 knows the general categories by their short names only. */
static const struct {
    const char *name, *category;
} categories[] = {
    {"Cased_Letter", "L&"},
    {"Close_Punctuation", "Pe"},
    {"Connector_Punctuation", "Pc"},
    {"Control", "Cc"},
    {"Currency_Symbol", "Sc"},
    {"Dash_Punctuation", "Pd"},
    {"Decimal_Number", "Nd"},
    {"Enclosing_Mark", "Me"},
    {"Final_Punctuation", "Pf"},
    {"Format", "Cf"},
    {"Initial_Punctuation", "Pi"},
    {"Letter", "L"},
    {"Letter_Number", "Nl"},
    {"Line_Separator", "Zl"},
    {"Lowercase_Letter", "Ll"},
    {"Mark", "M"},
    {"Math_Symbol", "Sm"},
    {"Modifier_Letter", "Lm"},
    {"Modifier_Symbol", "Sk"},
    {"Nonspacing_Mark", "Mn"},
    {"Number", "N"},
    {"Open_Punctuation", "Ps"},
    {"Other", "C"},
    {"Other_Letter", "Lo"},
    {"Other_Number", "No"},
    {"Other_Punctuation", "Po"},
    {"Other_Symbol", "So"},
    {"Paragraph_Separator", "Zp"},
    {"Private_Use", "Co"},
    {"Punctuation", "P"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Spacing_Mark", "Mc"},
    {"Surrogate", "Cs"},
    {"Symbol", "S"},
    {"Titlecase_Letter", "Lt"},
    {"Unassigned", "Cn"},
    {"Uppercase_Letter", "Lu"},
    {"digit", "Nd"},
    {"punct", "P"},
};

/* The name inside \p{...}, translated where PCRE2 would not know it. */
static void put_property(struct buf *b, const char *name, size_t len)
{
    static const char *const prefixes[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (len > n && memcmp(name, prefixes[i], n) == 0) {
            name += n;
            len -= n;
        }
    }
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (strlen(categories[i].name) == len && memcmp(categories[i].name, name, len) == 0) {
            buf_append_str(b, categories[i].category);
            return;
        }
    buf_append(b, name, len);
}

static int translate(const char *text, size_t len, struct buf *b)
{
    const char *p = text, *end = text + len;
    while (p < end) {
        if (*p != '\\' || end - p < 2) {
            buf_append_char(b, *p++);
            continue;
        }
        const char *close = NULL;
        if ((p[1] == 'p' || p[1] == 'P') && end - p > 3 && p[2] == '{')
            close = memchr(p, '}', (size_t)(end - p));
        buf_append(b, p, close ? 3 : 2);
        if (close)
            put_property(b, p + 3, (size_t)(close - p - 3));
        p = close ? close : p + 2;
    }
    return b->failed ? ERR_NOMEM : 0;
}

struct pattern *pattern_compile(const char *text, size_t len, struct error *err)
{
    AUTO(buf) translated = BUF_INIT(4 * PATTERN_LENGTH_MAX);
    if (len > PATTERN_LENGTH_MAX) {
        error_set(err, ERR_LIMIT, "it is longer than %d bytes", PATTERN_LENGTH_MAX);
        return NULL;
    }
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    struct pattern *p = calloc(1, sizeof *p);
    if (!context || !p || translate(text, len, &translated)) {
        pcre2_compile_context_free(context);
        free(p);
        error_set(err, ERR_NOMEM, "out of memory");
        return NULL;
    }
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_set_parens_nest_limit(context, PATTERN_NESTING_MAX);
    const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX |
                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS |
                             PCRE2_NEVER_BACKSLASH_C;
    int code;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)(translated.data ? translated.data : ""), translated.len,
                            options, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (p->code)
        return p;
    char message[160];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
    error_set(err, ERR_INVALID, "%s at offset %zu", message, (size_t)offset);
    free(p);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    free(p);
}

void pattern_spare_free(struct pattern_spare *spare)
{
    if (!spare)
        return;
    pcre2_match_data_free(spare->data);
    pcre2_match_context_free(spare->context);
    free(spare);
}

static struct pattern_spare *spare_new(void)
{
    struct pattern_spare *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    if (!s->data || !s->context) {
        pattern_spare_free(s);
        return NULL;
    }
    pcre2_set_match_limit(s->context, PATTERN_STEPS_MAX);
    pcre2_set_heap_limit(s->context, PATTERN_HEAP_MAX_KIB);
    return s;
}

enum pattern_result pattern_match(const struct pattern *p, const char *text, size_t len,
                                  struct pattern_spare **spare)
{
    if (!*spare && !(*spare = spare_new()))
        return PATTERN_NOMEM;
    int rc = pcre2_match(p->code, (PCRE2_SPTR)text, len, 0, 0, (*spare)->data, (*spare)->context);
    if (rc >= 0)
        return PATTERN_YES;
    switch (rc) {
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
        return PATTERN_LIMIT;
    case PCRE2_ERROR_NOMEMORY:
        return PATTERN_NOMEM;
    default:
        return PATTERN_NO; /* no match, or text that is not UTF-8 */
    }
}
