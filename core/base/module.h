/* The one place that opens shared objects: plugins and our own back ends. */
#ifndef HYPRXA_BASE_MODULE_H
#define HYPRXA_BASE_MODULE_H

#include "base/error.h"

#include <stdbool.h>

struct module;

/* Open `path` with RTLD_NOW | RTLD_LOCAL.  `resident`: RTLD_NODELETE too, so that closing keeps its
 * code mapped.  ERR_NOT_FOUND, ERR_INVALID with the loader's own words.  [control] */
int module_open(const char *path, bool resident, struct module **ret, struct error *err);

/* The address of a data or function symbol, or NULL.  Valid until module_close().  [any] */
void *module_symbol(const struct module *m, const char *name);

void module_close(struct module *m); /* NULL is fine.  [control] */

/* Open one of our own back ends, `backends/<name>.so` beside or above the folder of this library, and
 * find its symbol.  It stays open for the life of the process.  ERR_UNSUPPORTED: this installation
 * lacks it, and where it was looked for.  [control] */
int module_open_back_end(const char *name, const char *symbol, const void **ret, struct error *err);

#endif
