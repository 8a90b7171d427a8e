#include "tree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 512 };
static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/hyprxa-test-XXXXXX");
    cr_assert(mkdtemp(folder), "%s", strerror(errno));
    atexit(remove_folder);
}

const char *tree_path(const char *format, ...)
{
    static char paths[8][PATH_SIZE];
    static size_t turn;
    char *path = paths[turn++ % 8];
    if (!folder[0]) {
        make_folder();
    }
    int n = snprintf(path, PATH_SIZE, "%s/", folder);
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, (size_t)(PATH_SIZE - n), format, args);
    va_end(args);
    return path;
}

static void write_bytes(const char *name, const void *bytes, size_t n, int flags)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s", tree_path("%s", name));
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        cr_assert(mkdir(path, 0700) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

void tree_write(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text), O_TRUNC);
}

void tree_append(const char *name, const void *bytes, size_t n)
{
    write_bytes(name, bytes, n, O_APPEND);
}
