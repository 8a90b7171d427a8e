/* Input: a text.  What is read as an id is written as a text that is read as the same id. */
#include "base/auto.h"
#include "base/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(&data, &size);
    struct message_id id = {0}, again = {0};
    if (!message_id_parse(text, &id))
        return 0;
    char out[MESSAGE_ID_SIZE];
    require(message_id_format(&id, out) == strlen(out), "a text has its length");
    require(message_id_parse(out, &again), "what is written can be read");
    require(again.origin == id.origin && again.epoch == id.epoch && again.sequence == id.sequence,
            "it means the same");
    return 0;
}
