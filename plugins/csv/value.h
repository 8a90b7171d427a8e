/* Cells to values: empty is no sample, numbers, true and false, else text. */
#ifndef HYPRXA_CSV_VALUE_H
#define HYPRXA_CSV_VALUE_H

#include <hyprxa/plugin.h>

#include <stdbool.h>
#include <stddef.h>

enum cell_verdict {
    CELL_VALUE,
    CELL_EMPTY,
    CELL_BAD, /* a text that is not UTF-8 */
};

/* Read a cell.  A string value points into `text`.  Numbers and the words may have spaces around:
 *   an integer without point and exponent, within int64: int64; any other number: double, also NaN,
 *   Inf and Infinity (NAN, nan ...), signed or not; true, True, TRUE, false, False, FALSE: bool. */
enum cell_verdict cell_read(const char *text, size_t len, struct hyprxa_value *ret);

#endif
