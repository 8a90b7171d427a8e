/* Input: a form or a query, application/x-www-form-urlencoded.  What is taken apart has neither
 * empty names and values nor line breaks, is UTF-8, and means the same when it is encoded again. */
#include "base/auto.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "http/http_priv.h"

static void encode(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_printf(out, "%%%02x", (unsigned)(unsigned char)*text);
}

static void check(const struct http_pair *pairs, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        const char *const texts[] = {pairs[i].name, pairs[i].value};
        for (size_t k = 0; k < 2; k++) {
            require(*texts[k] && !strpbrk(texts[k], "\r\n"), "neither empty nor with line breaks");
            require(utf8_is_valid(texts[k], strlen(texts[k])), "UTF-8");
            buf_append_str(out, k ? "=" : i ? "&" : "");
            encode(out, texts[k]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct http_pair *pairs = NULL, *again = NULL;
    size_t n = 0, n_again = 0;
    struct error err = ERROR_INIT;
    int rc = url_split_pairs(&arena, (const char *)data, size, &pairs, &n, &err);
    require(rc == 0 || err.message[0], "a form is refused with a reason");
    if (rc == 0 && n) {
        AUTO(buf) text = BUF_INIT(1 << 20);
        check(pairs, n, &text);
        rc = url_split_pairs(&arena, text.data, text.len, &again, &n_again, &err);
        require(rc == 0 && n_again == n, "it can be read again");
        for (size_t i = 0; i < n; i++)
            require(strcmp(pairs[i].name, again[i].name) == 0 &&
                        strcmp(pairs[i].value, again[i].value) == 0,
                    "and means the same");
    }
    arena_release(&arena);
    return 0;
}
