/* A folder of the test's own, and the files in it. */
#ifndef HYPRXA_TESTS_TREE_H
#define HYPRXA_TESTS_TREE_H

#include <stddef.h>

/* "<folder>/<format...>", in one of eight static buffers that are used in turn.  The folder is made at
 * the first use, one per test process, and removed when that ends. */
__attribute__((format(printf, 1, 2))) const char *tree_path(const char *format, ...);

/* Write or append to a file of the folder; folders between are made. */
void tree_write(const char *name, const char *text);
void tree_append(const char *name, const void *bytes, size_t n);

#endif
