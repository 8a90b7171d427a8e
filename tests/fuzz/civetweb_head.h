/* A request's head as civetweb 1.15 reads it, faults and all: in place, a NUL for every line end. */
#ifndef HYPRXA_TESTS_FUZZ_CIVETWEB_HEAD_H
#define HYPRXA_TESTS_FUZZ_CIVETWEB_HEAD_H

#include <civetweb.h>
#include <stddef.h>

/* Read the head at the start of bytes[0..len), which is changed.  Its size, or 0: civetweb waits for
 * more or refuses it.  `ret` points into the bytes. */
size_t civetweb_read_head(char *bytes, size_t len, struct mg_request_info *ret);

#endif
