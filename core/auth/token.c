#include "auth/token.h"

#include "base/auto.h"
#include "base/json.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

enum { SIGNATURE_MAX = 64, PARTS = 3 };

static const struct {
    const char *name;
    const EVP_MD *(*digest)(void);
} algorithms[] = {
    [TOKEN_HS256] = {"HS256", EVP_sha256},
    [TOKEN_HS384] = {"HS384", EVP_sha384},
    [TOKEN_HS512] = {"HS512", EVP_sha512},
};

int token_algorithm_from_name(const char *name, enum token_algorithm *ret, struct error *err)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        if (strcmp(algorithms[i].name, name) == 0) {
            *ret = (enum token_algorithm)i;
            return 0;
        }
    }
    return error_set(err, ERR_UNSUPPORTED, "'%.40s' is no algorithm for tokens", name);
}

/* --- base64url without padding (RFC 7515, appendix C) --- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode_base64(struct buf *out, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | p[i];
        for (n += 8; n >= 6; n -= 6)
            buf_append_char(out, alphabet[bits >> (n - 6) & 63]);
    }
    if (n > 0)
        buf_append_char(out, alphabet[bits << (6 - n) & 63]);
}

/* False: another character, a length no bytes give, or bits set behind the last byte. */
static bool decode_base64(const char *text, size_t len, struct buf *out)
{
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at)
            return false;
        bits = (bits & 0xFF) << 6 | (uint32_t)(at - alphabet);
        n += 6;
        if (n >= 8) {
            n -= 8;
            buf_append_char(out, (char)(bits >> n));
        }
    }
    return n < 6 && (bits & ((1U << n) - 1)) == 0;
}

/* --- signature --- */

static int sign(const struct token_key *key, const char *bytes, size_t len,
                unsigned char out[SIGNATURE_MAX], size_t *ret_len, struct error *err)
{
    if (key->secret_len == 0)
        return error_set(err, ERR_INVALID, "the key of the tokens is empty");
    EVP_PKEY *secret =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, key->secret, key->secret_len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = SIGNATURE_MAX;
    int ok =
        secret && ctx &&
        EVP_DigestSignInit(ctx, NULL, algorithms[key->algorithm].digest(), NULL, secret) == 1 &&
        EVP_DigestSign(ctx, out, &n, (const unsigned char *)bytes, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(secret);
    if (!ok)
        return error_set(err, ERR_NOMEM, "a token cannot be signed");
    *ret_len = n;
    return 0;
}

int token_encode(const struct token_key *key, const char *subject, int64_t expire_s,
                 struct buf *out, struct error *err)
{
    AUTO(buf) claims = BUF_INIT(TOKEN_MAX_BYTES);
    AUTO(buf) token = BUF_INIT(TOKEN_MAX_BYTES);
    AUTO(buf) header = BUF_INIT(64);
    buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algorithms[key->algorithm].name);
    buf_append_lit(&claims, "{\"sub\":");
    json_write_string(&claims, subject, strlen(subject));
    if (expire_s)
        buf_printf(&claims, ",\"exp\":%lld", (long long)expire_s);
    buf_append_char(&claims, '}');
    if (!header.failed && !claims.failed) {
        encode_base64(&token, header.data, header.len);
        buf_append_char(&token, '.');
        encode_base64(&token, claims.data, claims.len);
    }
    if (header.failed || claims.failed || token.failed)
        return error_set(err, ERR_LIMIT, "the token would be too long");
    unsigned char signature[SIGNATURE_MAX];
    size_t len;
    int rc = sign(key, token.data, token.len, signature, &len, err);
    if (rc)
        return rc;
    buf_append_char(&token, '.');
    encode_base64(&token, signature, len);
    if (token.failed || buf_append(out, token.data, token.len))
        return error_set(err, ERR_LIMIT, "the token would be too long");
    return 0;
}

/* --- verification --- */

static int refuse(struct error *err, const char *why)
{
    return error_set(err, ERR_REFUSED, "%s", why);
}

struct part {
    const char *text;
    size_t len;
};

static bool split(const char *token, struct part parts[PARTS])
{
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = (struct part){token, strcspn(token, ".")};
        token += parts[i].len;
        if (parts[i].len == 0 || *token != (i + 1 < PARTS ? '.' : '\0'))
            return false;
        token++;
    }
    return true;
}

/* The JSON object in a part; the caller's. */
static int read_object(const struct part *part, struct json_object **ret, struct error *err)
{
    AUTO(buf) text = BUF_INIT(TOKEN_MAX_BYTES);
    AUTO_JSON *value = NULL;
    if (!decode_base64(part->text, part->len, &text))
        return refuse(err, "the token is not base64url");
    int rc = text.failed ? ERR_NOMEM : json_parse(text.data, text.len, &value, err);
    if (rc == ERR_NOMEM)
        return error_set(err, rc, "out of memory for a token");
    if (rc || !json_object_is_type(value, json_type_object))
        return refuse(err, "the token holds no JSON objects");
    *ret = TAKE(value);
    return 0;
}

static int check_header(const struct token_key *key, const struct part *part, struct error *err)
{
    AUTO_JSON *header = NULL;
    int rc = read_object(part, &header, err);
    if (rc)
        return rc;
    if (strcmp(json_get_string(header, "alg", ""), algorithms[key->algorithm].name) != 0)
        return refuse(err, "the token names another algorithm");
    if (json_object_object_get_ex(header, "crit", NULL))
        return refuse(err, "the token demands an extension");
    return 0;
}

static int check_signature(const struct token_key *key, const char *token,
                           const struct part parts[PARTS], struct error *err)
{
    unsigned char expected[SIGNATURE_MAX];
    size_t len;
    AUTO(buf) given = BUF_INIT(TOKEN_MAX_BYTES);
    if (!decode_base64(parts[2].text, parts[2].len, &given))
        return refuse(err, "the token is not base64url");
    size_t signed_len = (size_t)(parts[2].text - 1 - token);
    int rc = sign(key, token, signed_len, expected, &len, err);
    if (rc)
        return rc;
    if (given.len != len || CRYPTO_memcmp(given.data, expected, len) != 0)
        return refuse(err, "the token's signature is wrong");
    return 0;
}

/* A claim that is a time; *ret is untouched when it is absent. */
static bool read_time(struct json_object *claims, const char *name, double *ret)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(claims, name, &value))
        return true;
    if (!json_object_is_type(value, json_type_int) && !json_object_is_type(value, json_type_double))
        return false;
    *ret = json_object_get_double(value);
    return true;
}

static int check_claims(struct json_object *claims, int64_t now_s, struct error *err)
{
    double expires = (double)INT64_MAX, begins = (double)INT64_MIN, now = (double)now_s;
    if (!read_time(claims, "exp", &expires) || !read_time(claims, "nbf", &begins))
        return refuse(err, "the token's exp or nbf is no number");
    if (now >= expires)
        return refuse(err, "the token has expired");
    if (now < begins)
        return refuse(err, "the token is not valid yet");
    if (json_object_object_get_ex(claims, "aud", NULL))
        return refuse(err, "the token is for an audience");
    return 0;
}

int token_verify(const struct token_key *key, const char *token, int64_t now_s,
                 struct buf *ret_subject, struct error *err)
{
    struct part parts[PARTS];
    AUTO_JSON *claims = NULL;
    struct json_object *subject = NULL;
    if (strnlen(token, TOKEN_MAX_BYTES + 1) > TOKEN_MAX_BYTES || !split(token, parts))
        return refuse(err, "the token is malformed");
    int rc = check_header(key, &parts[0], err);
    if (!rc)
        rc = check_signature(key, token, parts, err);
    if (!rc)
        rc = read_object(&parts[1], &claims, err);
    if (!rc)
        rc = check_claims(claims, now_s, err);
    if (rc)
        return rc;
    json_object_object_get_ex(claims, "sub", &subject);
    /* U+0000 would let one name pass for a shorter one. */
    if (!json_object_is_type(subject, json_type_string) ||
        strlen(json_object_get_string(subject)) != (size_t)json_object_get_string_len(subject))
        return refuse(err, "the token's sub is no text");
    rc = buf_append_str(ret_subject, json_object_get_string(subject));
    return rc ? error_set(err, rc, "out of memory for a token") : 0;
}
