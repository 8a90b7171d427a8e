#include "base/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct module {
    void *handle;
};

int module_open(const char *path, bool resident, struct module **ret, struct error *err)
{
    if (access(path, R_OK) != 0)
        return errno == ENOENT ? error_set(err, ERR_NOT_FOUND, "no such file: '%s'", path)
                               : error_set_errno(err, errno, "cannot read '%s'", path);
    struct module *m = malloc(sizeof *m);
    if (!m)
        return error_set(err, ERR_NOMEM, "out of memory");
    m->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | (resident ? RTLD_NODELETE : 0));
    if (!m->handle) {
        const char *why = dlerror();
        free(m);
        return error_set(err, ERR_INVALID, "cannot load '%s': %s", path, why ? why : "unknown");
    }
    *ret = m;
    return 0;
}

void *module_symbol(const struct module *m, const char *name)
{
    return dlsym(m->handle, name);
}

void module_close(struct module *m)
{
    if (!m)
        return;
    dlclose(m->handle);
    free(m);
}
