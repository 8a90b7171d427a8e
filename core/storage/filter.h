/* Mongo-style queries over json-c values, for back ends that cannot run them themselves.
 *
 * Offered: equality, $eq $ne $gt $gte $lt $lte $in $nin $and $or $nor $not $exists $regex with
 * $options (i m s x) $all $elemMatch $size $type, dotted paths through objects and arrays.
 * Comparison is MongoDB's: a range operator matches values of its operand's type only, null equals
 * an absent member, a condition on an array holds if it holds for the array or for one element. */
#ifndef HYPRXA_STORAGE_FILTER_H
#define HYPRXA_STORAGE_FILTER_H

#include "base/error.h"

struct json_object;
struct filter; /* used by one thread at a time */

/* Compile once.  Takes references into `query`, which must not be changed while the filter lives.
 * ERR_INVALID: an operand of the wrong kind; ERR_UNSUPPORTED: an operator not offered, by name;
 * ERR_LIMIT: nested too deeply or too large; ERR_NOMEM. */
int filter_new(struct json_object *query, struct filter **ret, struct error *err);
void filter_free(struct filter *f);
/* 1: matches; 0: does not; ERR_LIMIT: too many steps on this document; ERR_NOMEM. */
int filter_match(struct filter *f, struct json_object *document, struct error *err);

#endif
