/* The number that stands for a subscription on the wire: `subscription_hash` of design decision 7. */
#ifndef HYPRXA_BASE_SERIES_HASH_H
#define HYPRXA_BASE_SERIES_HASH_H

#include <stddef.h>
#include <stdint.h>

struct json_object;

/* `canonical`: the first 63 bits of SHAKE-128 of the canonical text (json_write_canonical).  Never
 * negative.  ERR_NOMEM.  [any] */
int series_hash_canonical(const char *canonical, size_t len, int64_t *ret);

/* `hyprxa`: the hash of the original service, SHAKE-128 over the sorted bytes of the JSON text
 * (contract section 5, H).  The subscription has its defaults filled in.  ERR_NOMEM, ERR_LIMIT
 * (nested too deep).  [any] */
int series_hash_hyprxa(struct json_object *subscription, int64_t *ret);

/* The key under which somebody's wish for the series is registered in the cache: `subscriber_key` of
 * contract section 5, a decimal number.  ERR_NOMEM.  [any] */
enum { SERIES_REGISTRATION_SIZE = 40 };
int series_registration_key(int64_t hash, char out[SERIES_REGISTRATION_SIZE]);

#endif
