/* Digests of OpenSSL, by what they are used for.  [any] */
#ifndef HYPRXA_BASE_DIGEST_H
#define HYPRXA_BASE_DIGEST_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

int digest_shake128(const void *bytes, size_t n, unsigned char out[16]);
int digest_md5(const void *bytes, size_t n, unsigned char out[16]);
int digest_sha1(const void *bytes, size_t n, unsigned char out[20]); /* WebSocket asks for it */
int digest_sha256(const void *bytes, size_t n, unsigned char out[32]);

/* Lower-case hex of n bytes and a NUL: 2n + 1 chars. */
void digest_hex(const unsigned char *bytes, size_t n, char *out);

/* As base64, padded, and a NUL: 4 chars for every 3 bytes begun, and one. */
void digest_base64(const unsigned char *bytes, size_t n, char *out);

/* A random version 4 UUID as 32 hex digits and a NUL. */
void digest_uuid4(char out[33]);

#endif
