#include "auth/token.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

TestSuite(token, .timeout = 20);

enum { NOW = 1700000000 };

static struct token_key test_key(enum token_algorithm algorithm)
{
    return (struct token_key){algorithm, "testkey", 7};
}

/* Contract section 10. */
static const char vector[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
                             ".eyJzdWIiOiJyZWFkZXIiLCJleHAiOjE3MDAwMDAwMDB9"
                             ".8jFPrNeGlcPg22fz6gs8o96k93fkYMlYFlUqtp2qTi0";

Test(token, the_vector_of_the_contract_is_written_and_read)
{
    struct token_key key = test_key(TOKEN_HS256);
    struct error err = ERROR_INIT;
    struct buf token = BUF_INIT(1024), subject = BUF_INIT(1024);
    cr_assert_eq(token_encode(&key, "reader", NOW, &token, &err), 0, "%s", err.message);
    cr_expect_str_eq(token.data, vector);
    cr_assert_eq(token_verify(&key, vector, NOW - 1, &subject, &err), 0, "%s", err.message);
    cr_expect_str_eq(subject.data, "reader");
    buf_release(&token);
    buf_release(&subject);
}

Test(token, every_algorithm_reads_back_what_it_wrote_and_nothing_else)
{
    static const char *const names[] = {"HS256", "HS384", "HS512"};
    for (int i = 0; i < 3; i++) {
        enum token_algorithm algorithm;
        cr_assert_eq(token_algorithm_from_name(names[i], &algorithm, NULL), 0);
        struct token_key key = test_key(algorithm);
        struct buf token = BUF_INIT(1024);
        cr_assert_eq(token_encode(&key, "Zo\xC3\xAB \"x\"", 0, &token, NULL), 0);
        for (int other = 0; other < 3; other++) {
            struct token_key reader = test_key((enum token_algorithm)other);
            struct buf subject = BUF_INIT(1024);
            int rc = token_verify(&reader, token.data, NOW, &subject, NULL);
            cr_expect_eq(rc, other == i ? 0 : ERR_REFUSED, "%s read as %s", names[i], names[other]);
            if (!rc)
                cr_expect_str_eq(subject.data, "Zo\xC3\xAB \"x\"");
            buf_release(&subject);
        }
        buf_release(&token);
    }
    enum token_algorithm none;
    cr_expect_eq(token_algorithm_from_name("none", &none, NULL), ERR_UNSUPPORTED);
    cr_expect_eq(token_algorithm_from_name("RS256", &none, NULL), ERR_UNSUPPORTED);
}

Test(token, it_expires_in_the_second_it_names)
{
    struct token_key key = test_key(TOKEN_HS256);
    struct error err = ERROR_INIT;
    struct buf subject = BUF_INIT(1024);
    cr_expect_eq(token_verify(&key, vector, NOW, &subject, &err), ERR_REFUSED);
    cr_expect_str_eq(err.message, "the token has expired");
    cr_expect_eq(subject.len, 0);
    cr_expect_eq(token_verify(&key, vector, NOW - 1, &subject, &err), 0);
    buf_release(&subject);
}

Test(token, no_changed_byte_passes)
{
    struct token_key key = test_key(TOKEN_HS256);
    char changed[sizeof vector];
    for (size_t i = 0; i + 1 < sizeof vector; i++) {
        struct buf subject = BUF_INIT(1024);
        memcpy(changed, vector, sizeof vector);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        cr_expect_eq(token_verify(&key, changed, NOW - 1, &subject, NULL), ERR_REFUSED, "byte %zu",
                     i);
        buf_release(&subject);
    }
    struct token_key other = {TOKEN_HS256, "testkez", 7};
    struct buf subject = BUF_INIT(1024);
    cr_expect_eq(token_verify(&other, vector, NOW - 1, &subject, NULL), ERR_REFUSED);
    buf_release(&subject);
}

/* Made by Python's hmac, most signed with `testkey`; "" stands for acceptance. */
struct foreign_token {
    char why[48];
    char token[256];
};

ParameterizedTestParameters(token, refused_for)
{
    static struct foreign_token cases[] = {
#include "tokens.inc"
    };
    return cr_make_param_array(struct foreign_token, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct foreign_token *c, token, refused_for)
{
    struct token_key key = test_key(TOKEN_HS256);
    struct error err = ERROR_INIT;
    struct buf subject = BUF_INIT(1024);
    int rc = token_verify(&key, c->token, NOW, &subject, &err);
    cr_expect_eq(rc, c->why[0] ? ERR_REFUSED : 0, "%s: %s", c->token, err.message);
    cr_expect_str_eq(err.message, c->why, "%s", c->token);
    buf_release(&subject);
}

Test(token, a_key_without_bytes_signs_nothing)
{
    struct token_key key = {TOKEN_HS256, "", 0};
    struct buf out = BUF_INIT(1024);
    cr_expect_eq(token_encode(&key, "reader", 0, &out, NULL), ERR_INVALID);
    cr_expect_eq(token_verify(&key, vector, NOW - 1, &out, NULL), ERR_INVALID);
    buf_release(&out);
}

Test(token, the_longest_one_is_read_back_and_a_longer_one_is_not_made)
{
    struct token_key key = test_key(TOKEN_HS256);
    struct buf token = BUF_INIT(2 * TOKEN_MAX_BYTES), subject = BUF_INIT(2 * TOKEN_MAX_BYTES);
    char *name = calloc(1, TOKEN_MAX_BYTES);
    cr_assert_not_null(name);
    /* 36 and 43 bytes of base64, two dots; three bytes of claims in four. */
    size_t longest = (TOKEN_MAX_BYTES - 36 - 43 - 2) / 4 * 3 + 2 - strlen("{\"sub\":\"\"}");
    memset(name, 'x', longest + 1);
    cr_expect_eq(token_encode(&key, name, 0, &token, NULL), ERR_LIMIT);
    cr_expect_eq(token.len, 0);
    name[longest] = '\0';
    cr_assert_eq(token_encode(&key, name, 0, &token, NULL), 0);
    cr_expect_gt(token.len, TOKEN_MAX_BYTES - 4);
    cr_expect_eq(token_verify(&key, token.data, NOW, &subject, NULL), 0);
    cr_expect_str_eq(subject.data, name);
    buf_append_str(&token, "AAAA");
    cr_expect_eq(token_verify(&key, token.data, NOW, &subject, NULL), ERR_REFUSED);
    free(name);
    buf_release(&token);
    buf_release(&subject);
}
