/* The reader of multipart forms: the first line is the content type, the rest the body.  It must stay
 * within the body, and what it gives must be texts. */
#include "fuzz.h"
#include "http/multipart.h"

enum { FIELDS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *body = memchr(text, '\n', size);
    if (body) {
        struct http_pair pairs[FIELDS];
        size_t n = 0;
        *body++ = '\0';
        /* Memory of its own, so that a sanitizer sees a step out of it. */
        size_t len = size - (size_t)(body - text);
        char *copy = malloc(len + 1);
        if (copy) {
            memcpy(copy, body, len + 1);
            if (multipart_split(copy, len, text, pairs, FIELDS, &n, NULL) == 0) {
                if (n > FIELDS)
                    abort();
                for (size_t i = 0; i < n; i++)
                    if (pairs[i].value[0] == '\0' ||
                        pairs[i].value + strlen(pairs[i].value) > copy + len)
                        abort();
            }
        }
        free(copy);
    }
    free(text);
    return 0;
}
