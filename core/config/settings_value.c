#include "config/settings_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void *member(const struct setting *d, struct settings *s)
{
    return (char *)s + d->offset;
}

static bool is_text(const struct setting *d)
{
    return d->kind == SETTING_KIND_STRING || d->kind == SETTING_KIND_SECRET ||
           d->kind == SETTING_KIND_CHOICE || d->kind == SETTING_KIND_IGNORED;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; *p; p += strspn(p, "|")) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, word, len) == 0)
            return true;
        p += n;
    }
    return false;
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    *ret = n;
    /* strtoll() would skip white space. */
    return errno == 0 && end != text && *end == '\0' && strchr("+-0123456789", text[0]);
}

/* `n` of the setting's bytes or seconds, in the largest unit that leaves a whole number. */
static void append_amount(const struct setting *d, int64_t n, struct buf *out)
{
    static const struct unit {
        const char *name;
        int64_t size;
    } sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}},
      durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    bool is_size = d->kind == SETTING_KIND_SIZE;
    const struct unit *unit = is_size ? sizes : durations;
    if (!is_size && strcmp(d->extra, "s") == 0)
        n *= 1000;
    while (n % unit->size)
        unit++;
    buf_printf(out, "%" PRId64 "%s", n / unit->size, unit->name);
}

static int append_range(const struct setting *d, struct buf *out)
{
    bool is_size = d->kind == SETTING_KIND_SIZE;
    buf_append_str(out, is_size ? "a size" : "a duration");
    if (d->min > 0 || is_size) {
        buf_append_lit(out, " from ");
        append_amount(d, d->min, out);
        buf_append_lit(out, " to ");
    } else {
        buf_append_lit(out, " above 0, up to ");
    }
    append_amount(d, d->max, out);
    if (is_size)
        return buf_append_lit(out, ": a number of bytes, or with a unit, such as 64KiB");
    return buf_printf(out, ": a number of %s, or with a unit, such as 500ms or 5m",
                      strcmp(d->extra, "s") == 0 ? "seconds" : "milliseconds");
}

int setting_default(const struct setting *d, struct buf *out)
{
    int64_t n;
    if (d->kind == SETTING_KIND_DURATION && parse_int(d->initial, &n))
        append_amount(d, n, out);
    else
        buf_append_str(out, d->initial);
    if (d->kind == SETTING_KIND_DURATION && strchr(d->initial, '.'))
        buf_append_str(out, d->extra);
    return out->failed ? ERR_NOMEM : 0;
}

int setting_expected(const struct setting *d, struct buf *out)
{
    switch (d->kind) {
    case SETTING_KIND_BOOL:
        return buf_append_lit(out, "true or false");
    case SETTING_KIND_INT:
        return buf_printf(out, "a whole number from %" PRId64 " to %" PRId64, d->min, d->max);
    case SETTING_KIND_SIZE:
    case SETTING_KIND_DURATION:
        return append_range(d, out);
    case SETTING_KIND_CHOICE:
        buf_append_lit(out, "one of ");
        for (const char *p = d->extra; *p; p++)
            *p == '|' ? buf_append_lit(out, ", ") : buf_append_char(out, *p);
        return out->failed ? ERR_NOMEM : 0;
    case SETTING_KIND_LIST:
        return buf_append_lit(out, "a list of texts, such as [\"a\", \"b\"]");
    default:
        return buf_append_lit(out, "text");
    }
}

static int refuse(const struct setting *d, const char *found, struct error *err)
{
    AUTO(buf) expected = BUF_INIT(1024);
    setting_expected(d, &expected);
    const char *text = expected.data ? expected.data : "another value";
    if (d->kind == SETTING_KIND_SECRET || !found)
        return error_set(err, ERR_INVALID, "expected %s", text);
    return error_set(err, ERR_INVALID, "expected %s; found %.80s%s", text, found,
                     strlen(found) > 80 ? "..." : "");
}

static int no_memory(struct error *err)
{
    return error_set(err, ERR_NOMEM, "out of memory");
}

static int set_text(const struct setting *d, struct settings *s, const char *text,
                    struct error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return no_memory(err);
    char **at = member(d, s);
    free(*at);
    *at = copy;
    return 0;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const trues[] = {"true", "1", "on", "t", "y", "yes"};
    static const char *const falses[] = {"false", "0", "off", "f", "n", "no"};
    for (size_t i = 0; i < sizeof trues / sizeof *trues; i++) {
        if (strcasecmp(text, trues[i]) == 0 || strcasecmp(text, falses[i]) == 0) {
            *ret = strcasecmp(text, trues[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool parse_size(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    size_t digits = strspn(text, "0123456789");
    char number[24];
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text + digits, units[i].unit) == 0)
            return parse_int(number, ret) &&
                   !__builtin_mul_overflow(*ret, INT64_C(1) << units[i].shift, ret);
    return false;
}

static int64_t unit_us(const struct setting *d)
{
    return strcmp(d->extra, "ms") == 0 ? 1000 : TIME_US_PER_SECOND;
}

static bool parse_duration(const struct setting *d, const char *text, int64_t *ret_us)
{
    if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text))
        return time_parse_duration(text, ret_us, NULL) == 0;
    char *end;
    double count = strtod(text, &end);
    double us = count * (double)unit_us(d);
    if (*end != '\0' || !(us < 9e18))
        return false;
    *ret_us = (int64_t)(us + 0.5);
    return true;
}

static int set_number(const struct setting *d, struct settings *s, const char *text,
                      struct error *err)
{
    int64_t value = 0, unit = 1;
    bool good;
    if (d->kind == SETTING_KIND_INT) {
        good = parse_int(text, &value);
    } else if (d->kind == SETTING_KIND_SIZE) {
        good = parse_size(text, &value);
    } else {
        unit = unit_us(d);
        good = parse_duration(d, text, &value) && value > 0;
    }
    if (!good || value < d->min * unit || value > d->max * unit)
        return refuse(d, text, err);
    *(int64_t *)member(d, s) = value;
    return 0;
}

int setting_list_append(struct setting_strings *list, const char *item)
{
    char *copy = strdup(item);
    char **grown = copy ? realloc(list->items, (list->n + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(copy);
        return ERR_NOMEM;
    }
    list->items = grown;
    list->items[list->n++] = copy;
    return 0;
}

void setting_list_clear(struct setting_strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct setting_strings){0};
}

static int set_list(const struct setting *d, struct settings *s, struct json_object *value,
                    const char *found, struct error *err)
{
    struct setting_strings list = {0};
    int rc = 0;
    if (!json_object_is_type(value, json_type_array))
        return refuse(d, found, err);
    for (size_t i = 0; i < json_object_array_length(value) && rc == 0; i++) {
        struct json_object *item = json_object_array_get_idx(value, i);
        if (!json_object_is_type(item, json_type_string))
            rc = refuse(d, found, err);
        else if (setting_list_append(&list, json_object_get_string(item)) != 0)
            rc = no_memory(err);
    }
    if (rc) {
        setting_list_clear(&list);
        return rc;
    }
    setting_list_clear(member(d, s));
    *(struct setting_strings *)member(d, s) = list;
    return 0;
}

/* A text that is no JSON list is a list of one: `--listen 127.0.0.1:8000`. */
static int parse_list(const struct setting *d, struct settings *s, const char *text,
                      struct error *err)
{
    size_t len = strlen(text);
    if (len == 0)
        return refuse(d, text, err);
    struct json_object *value = NULL;
    if (text[0] == '[' && text[len - 1] == ']') {
        struct json_tokener *tokener = json_tokener_new_ex(8);
        if (!tokener)
            return no_memory(err);
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        value = json_tokener_parse_ex(tokener, text, (int)len + 1);
        json_tokener_free(tokener);
    } else if ((value = json_object_new_array()) != NULL) {
        json_object_array_add(value, json_object_new_string(text));
    }
    int rc = set_list(d, s, value, text, err);
    json_object_put(value);
    return rc;
}

int setting_parse(const struct setting *d, struct settings *s, const char *text, struct error *err)
{
    bool flag;
    switch (d->kind) {
    case SETTING_KIND_CHOICE:
        return has_word(d->extra, text) ? set_text(d, s, text, err) : refuse(d, text, err);
    case SETTING_KIND_BOOL:
        if (!parse_bool(text, &flag))
            return refuse(d, text, err);
        *(bool *)member(d, s) = flag;
        return 0;
    case SETTING_KIND_INT:
    case SETTING_KIND_SIZE:
    case SETTING_KIND_DURATION:
        return set_number(d, s, text, err);
    case SETTING_KIND_LIST:
        return parse_list(d, s, text, err);
    default:
        return set_text(d, s, text, err);
    }
}

/* Types of a file's value that a setting may have: text for a text, a number for a number. */
static bool fits(const struct setting *d, enum json_type type)
{
    switch (d->kind) {
    case SETTING_KIND_BOOL:
        return type == json_type_boolean;
    case SETTING_KIND_INT:
        return type == json_type_int;
    case SETTING_KIND_SIZE:
        return type == json_type_int || type == json_type_string;
    case SETTING_KIND_DURATION:
        return type == json_type_int || type == json_type_double || type == json_type_string;
    case SETTING_KIND_CHOICE:
        return type == json_type_string || type == json_type_boolean;
    case SETTING_KIND_IGNORED:
        return true;
    default:
        return type == json_type_string;
    }
}

int setting_from_json(const struct setting *d, struct settings *s, struct json_object *value,
                      struct error *err)
{
    const char *text = value ? json_object_get_string(value) : "nothing";
    if (!text)
        return no_memory(err);
    if (d->kind == SETTING_KIND_LIST)
        return set_list(d, s, value, text, err);
    if (!fits(d, json_object_get_type(value)))
        return refuse(d, text, err);
    return setting_parse(d, s, text, err);
}

void setting_clear(const struct setting *d, struct settings *s)
{
    if (d->kind == SETTING_KIND_LIST)
        setting_list_clear(member(d, s));
    else if (is_text(d))
        free(*(char **)member(d, s));
}
