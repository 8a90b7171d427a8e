/* Input: an Accept header.  Whatever it says, a format is one of ours, and a wildcard at the front
 * makes it CSV. */
#include "base/auto.h"
#include "fuzz.h"
#include "http/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(&data, &size);
    enum table_format format = TABLE_CSV, again = TABLE_CSV;
    const bool ok = table_negotiate(text, &format);
    require(format == TABLE_CSV || format == TABLE_JSON_LINES || format == TABLE_NDJSON,
            "one of ours");
    require(table_negotiate(text, &again) == ok && again == format, "the same answer twice");
    const size_t len = strlen(text) + 8;
    AUTO_FREE char *more = malloc(len);
    if (!more)
        abort();
    snprintf(more, len, "*/*,%s", text);
    require(table_negotiate(more, &again), "a wildcard accepts all");
    return 0;
}
