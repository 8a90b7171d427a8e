#include "base/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* --- back ends --- */

enum { PATH_SIZE = 4096 };

/* The folder of this library, without a slash at its end; empty when unknown. */
static void own_folder(char out[PATH_SIZE])
{
    Dl_info info;
    out[0] = '\0';
    if (!dladdr((const void *)(uintptr_t)&module_open_back_end, &info) || !info.dli_fname)
        return;
    char *real = realpath(info.dli_fname, NULL);
    if (real && strlen(real) < PATH_SIZE) {
        strcpy(out, real);
        *strrchr(out, '/') = '\0';
    }
    free(real);
}

int module_open_back_end(const char *name, const char *symbol, const void **ret, struct error *err)
{
    /* Installed: <lib>/hyprxa/backends; in a build: <build>/backends beside <build>/lib. */
    static const char *const places[] = {"backends", "../backends"};
    char folder[PATH_SIZE], path[PATH_SIZE + 512];
    own_folder(folder);
    struct module *m = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places && !m; i++) {
        snprintf(path, sizeof path, "%s/%s/%s.so", folder, places[i], name);
        int rc = module_open(path, true, &m, err);
        if (rc && rc != ERR_NOT_FOUND)
            return rc;
    }
    if (!m)
        return error_set(err, ERR_UNSUPPORTED,
                         "this installation has no back end '%s': there is no '%s/backends/%s.so'",
                         name, folder, name);
    *ret = module_symbol(m, symbol);
    if (!*ret) {
        module_close(m);
        return error_set(err, ERR_INVALID, "'%s' has no symbol '%s'", path, symbol);
    }
    free(m); /* the library stays */
    return 0;
}
