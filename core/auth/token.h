/* JSON Web Tokens (RFC 7519) signed with a shared secret: what /token gives out and what a bearer
 * header brings back.
 *
 * The caller says which algorithm a key is for; a token that names another one, `none` included, is
 * refused before its signature is looked at.  All [any]. */
#ifndef HYPRXA_AUTH_TOKEN_H
#define HYPRXA_AUTH_TOKEN_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum token_algorithm { TOKEN_HS256, TOKEN_HS384, TOKEN_HS512 };

struct token_key { /* borrowed */
    enum token_algorithm algorithm;
    const void *secret;
    size_t secret_len; /* 1 or more */
};

enum { TOKEN_MAX_BYTES = 8192 }; /* of a token; a longer one is refused unread */

/* "HS256" ...; ERR_UNSUPPORTED: not one of them. */
int token_algorithm_from_name(const char *name, enum token_algorithm *ret, struct error *err);

/* Append a token with the claims `sub` and `exp` (Unix seconds; 0: none).  ERR_LIMIT: it would be
 * longer than TOKEN_MAX_BYTES. */
int token_encode(const struct token_key *key, const char *subject, int64_t expire_s,
                 struct buf *out, struct error *err);

/* Is it ours, and valid at `now_s`?  `exp` is the first second in which it is not, `nbf` the first
 * in which it is, without leeway; both may be absent.  `sub` must be a text, and `aud` and `crit`
 * absent.  Appends the subject.  ERR_REFUSED says why; the reason is for a log, not for the
 * bearer. */
int token_verify(const struct token_key *key, const char *token, int64_t now_s,
                 struct buf *ret_subject, struct error *err);

#endif
