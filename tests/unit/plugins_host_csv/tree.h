/* A folder of the test's own, and the files in it. */
#ifndef HYPRXA_TESTS_TREE_H
#define HYPRXA_TESTS_TREE_H

#include <stddef.h>

/* Make a temporary folder; its path is in tree_path().  One per test process. */
void tree_make(void);
void tree_remove(void);
/* "<folder>/<format...>", in a static buffer of eight that are used in turn. */
__attribute__((format(printf, 1, 2))) const char *tree_path(const char *format, ...);

/* Write or append to a file of the folder; folders between are made. */
void tree_write(const char *name, const char *text);
void tree_append(const char *name, const void *bytes, size_t n);

#endif
