#include "base/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

static int digest(const EVP_MD *kind, const void *bytes, size_t n, unsigned char *out, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx && EVP_DigestInit_ex(ctx, kind, NULL) == 1 && EVP_DigestUpdate(ctx, bytes, n) == 1;
    if (ok && (EVP_MD_flags(kind) & EVP_MD_FLAG_XOF))
        ok = EVP_DigestFinalXOF(ctx, out, len) == 1;
    else if (ok)
        ok = EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : ERR_NOMEM;
}

int digest_shake128(const void *bytes, size_t n, unsigned char out[16])
{
    return digest(EVP_shake128(), bytes, n, out, 16);
}

int digest_md5(const void *bytes, size_t n, unsigned char out[16])
{
    return digest(EVP_md5(), bytes, n, out, 16);
}

int digest_sha1(const void *bytes, size_t n, unsigned char out[20])
{
    return digest(EVP_sha1(), bytes, n, out, 20);
}

int digest_sha256(const void *bytes, size_t n, unsigned char out[32])
{
    return digest(EVP_sha256(), bytes, n, out, 32);
}

void digest_hex(const unsigned char *bytes, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

void digest_base64(const unsigned char *bytes, size_t n, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)n);
}

void digest_uuid4(char out[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort(); /* 16 bytes never come short once the kernel's pool is up */
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
    digest_hex(bytes, sizeof bytes, out);
}
