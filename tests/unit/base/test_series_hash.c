#include "base/series_hash.h"

#include "base/auto.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

TestSuite(series_hash, .timeout = 10);

static const struct vector {
    const char *text;
    int64_t hash;
} vectors[] = {
    {"{\"source\":\"demo\",\"tag\":\"T1\"}", 16862957990495821},
    {"{\"tag\":\"T1\",\"source\":\"demo\"}", 16862957990495821},
    {"{\"source\":\"demo\",\"tag\":\"1T\"}", 16862957990495821},
    {"{\"source\":\"pi\",\"web_id\":\"F1AbEdemo\",\"meta\":{\"unit\":\"degC\",\"hi\":{\"v\":100,"
     "\"lo\":-40},\"tags\":[\"a\",\"b\"]}}",
     652263110870677275},
    {"{\"source\":\"opc\",\"name\":\"Température α→β\",\"path\":\"/Zürich/🌡\"}",
     568598869361592917},
    {"{\"source\":\"demo\",\"tag\":\"P1\",\"rate\":2.5}", 1789492818046960875},
    {"{\"source\":\"csv\",\"file\":\"a.csv\",\"column\":null,\"enabled\":true}",
     1976802863284234683},
    {"{\"source\":\"demo\",\"tag\":\"P1\",\"rate\":2.0}", 1008935336312868480},
    {"{\"source\":\"demo\",\"tag\":\"P1\",\"rate\":2}", 642157081859750362},
    {"{\"source\":\"x\",\"f\":1e16,\"g\":1e-7}", 664830060537661956},
    {"{\"topic\":\"sample\",\"routing_key\":\"sample.#\"}", 1300706688832426669},
    {"{\"topic\":\"sample\",\"routing_key\":\"sample.a.b\"}", 503771130273957495},
};

Test(series_hash, hyprxa_agrees_with_the_vectors_of_the_original)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        AUTO_JSON *value = NULL;
        cr_assert_eq(json_parse(vectors[i].text, strlen(vectors[i].text), &value, NULL), 0);
        int64_t hash = 0;
        cr_assert_eq(series_hash_hyprxa(value, &hash), 0);
        cr_expect_eq(hash, vectors[i].hash, "%s: %" PRId64, vectors[i].text, hash);
    }
}

static int64_t canonical_hash(const char *text)
{
    AUTO_JSON *value = NULL;
    AUTO(buf) canonical = BUF_INIT(1000);
    int64_t hash = -1;
    cr_assert_eq(json_parse(text, strlen(text), &value, NULL), 0);
    cr_assert_eq(json_write_canonical(&canonical, value, NULL), 0);
    cr_assert_eq(series_hash_canonical(canonical.data, canonical.len, &hash), 0);
    cr_expect_geq(hash, 0);
    return hash;
}

Test(series_hash, canonical_ignores_order_of_members_only)
{
    int64_t hash = canonical_hash("{\"source\":\"demo\",\"tag\":\"T1\"}");
    cr_expect_eq(hash, INT64_C(9095222032395805415)); /* hashlib's shake_128 >> 65 */
    cr_expect_eq(hash, canonical_hash("{\"tag\":\"T1\",\"source\":\"demo\"}"));
    cr_expect_neq(hash, canonical_hash("{\"source\":\"demo\",\"tag\":\"1T\"}"));
}

static const struct registration {
    int64_t hash;
    const char *key;
} registrations[] = {
    {16862957990495821, "58855122680806346025955312038585577747"},
    {652263110870677275, "276016882696197897481429109451698708377"},
    {568598869361592917, "111090474074374529288141949189645857998"},
    {1789492818046960875, "92518346226134508258851917180007944993"},
    {1976802863284234683, "164549856962582980995487017607855296596"},
    {1008935336312868480, "150086551891001765025095591825465549496"},
    {642157081859750362, "42862887848912070884650552550726015690"},
    {664830060537661956, "168706524557678841981538597446381873677"},
};

Test(series_hash, registrations_agree_with_the_vectors_of_the_original)
{
    for (size_t i = 0; i < sizeof registrations / sizeof *registrations; i++) {
        char key[SERIES_REGISTRATION_SIZE];
        cr_assert_eq(series_registration_key(registrations[i].hash, key), 0);
        cr_expect_str_eq(key, registrations[i].key);
    }
}
