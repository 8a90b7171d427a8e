#include "app/memo.h"

#include "base/auto.h"
#include "base/buf.h"
#include "base/log.h"
#include "broker/broker.h"
#include "config/settings.h"
#include "topics/topics.h"
#include "unitops/unitops.h"

#include <string.h>

enum { TEXT_MAX = 4000 };

static const char topics_word[] = "topics ", unitops_word[] = "unitops ";

/* One that cannot be told is seen by the others a few seconds later. */
static void saved(void *ctx, enum storage_collection c, const char *key)
{
    struct memo *memo = ctx;
    AUTO(buf) text = BUF_INIT(TEXT_MAX);
    buf_append_str(&text, c == STORAGE_TOPICS ? topics_word : unitops_word);
    buf_append(&text, key, strlen(key) + 1);
    if (text.failed || broker_tell(memo->broker, text.data))
        log_debug("hyprxa.app", "that '%s' was saved is not told to other nodes", key);
}

static void told(void *ctx, const char *text)
{
    struct memo *memo = ctx;
    if (memo->topics && strncmp(text, topics_word, strlen(topics_word)) == 0)
        topics_recheck(memo->topics, text + strlen(topics_word));
    else if (memo->unitops && strncmp(text, unitops_word, strlen(unitops_word)) == 0)
        unitops_recheck(memo->unitops, text + strlen(unitops_word));
}

struct document_cache_options memo_options(struct memo *memo, const struct settings *s)
{
    return (struct document_cache_options){
        .ttl_ms = s->caching_ttl_us / 1000, .saved = saved, .ctx = memo};
}

void memo_listen(struct memo *memo)
{
    broker_on_told(memo->broker, told, memo);
}
