#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

bool path_list_add(struct path_list *list, const char *folder, const char *name)
{
    char *path = NULL;
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        char **grown = realloc(list->paths, room * sizeof(*grown));
        if (!grown) {
            return false;
        }
        list->paths = grown;
        list->room = room;
    }
    bool slash = folder[0] && folder[strlen(folder) - 1] != '/';
    if (asprintf(&path, "%s%s%s", folder, slash ? "/" : "", name) < 0) {
        return false;
    }
    list->paths[list->n++] = path;
    return true;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_csv(const char *name)
{
    size_t len = strlen(name);
    return name[0] != '.' && len > 4 && strcasecmp(name + len - 4, ".csv") == 0;
}

static bool scan_folder(const char *folder, struct path_list *ret)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool done = true;
    while (dir && done && (entry = readdir(dir)) != NULL) {
        if (is_csv(entry->d_name)) {
            done = path_list_add(ret, folder, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return done;
}

bool scan_paths(const char *path, struct path_list *ret)
{
    struct stat st;
    bool done = true;
    *ret = (struct path_list){0};
    if (stat(path, &st) == 0) { /* also when it could be read as a glob */
        done = S_ISDIR(st.st_mode) ? scan_folder(path, ret) : path_list_add(ret, "", path);
    } else if (strpbrk(path, "*?[")) {
        glob_t found = {0};
        int result = glob(path, 0, NULL, &found);
        done = result != GLOB_NOSPACE;
        for (size_t i = 0; result == 0 && done && i < found.gl_pathc; i++) {
            done = path_list_add(ret, "", found.gl_pathv[i]);
        }
        globfree(&found);
    }
    if (ret->n > 0) {
        qsort(ret->paths, ret->n, sizeof(*ret->paths), by_path);
    }
    if (!done) {
        path_list_release(ret);
    }
    return done;
}

void path_list_release(struct path_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->paths[i]);
    }
    free(list->paths);
    *list = (struct path_list){0};
}

/* The folder part of `path`: "." without one.  NULL: out of memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return strdup(".");
    }
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *scan_for_inode(const char *path, dev_t dev, ino_t ino)
{
    char *folder = folder_of(path), *found = NULL;
    DIR *dir = folder ? opendir(folder) : NULL;
    struct dirent *entry;
    while (dir && !found && (entry = readdir(dir)) != NULL) {
        struct stat st;
        if (entry->d_ino == ino && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            st.st_dev == dev && st.st_ino == ino && S_ISREG(st.st_mode) &&
            asprintf(&found, "%s/%s", folder, entry->d_name) < 0) {
            found = NULL;
            break;
        }
    }
    if (dir) {
        closedir(dir);
    }
    free(folder);
    return found;
}

/* --- inotify --- */

enum {
    WATCHED = IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
              IN_DELETE_SELF | IN_MOVE_SELF,
    WRITTEN = IN_MODIFY | IN_CLOSE_WRITE,
};

void watch_init(struct watch *w)
{
    *w = (struct watch){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
}

void watch_release(struct watch *w)
{
    if (w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
}

bool watch_folders(struct watch *w, const char *path)
{
    struct stat st;
    glob_t found = {0};
    bool all = true, is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    char *folder = is_folder ? strdup(path) : folder_of(path);
    if (w->fd < 0 || !folder) {
        free(folder);
        return false;
    }
    /* A folder part that is a glob itself names several; a plain one only itself. */
    if (glob(folder, GLOB_NOCHECK | GLOB_ONLYDIR, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int added = inotify_add_watch(w->fd, found.gl_pathv[i], WATCHED | IN_ONLYDIR);
            all = all && (added >= 0 || errno == ENOENT);
        }
    }
    globfree(&found);
    free(folder);
    return all;
}

bool watch_read(struct watch *w, watch_changed_fn *changed, void *ctx)
{
    _Alignas(struct inotify_event) char events[16 * 1024];
    bool moved = false;
    ssize_t n;
    while (w->fd >= 0 && (n = read(w->fd, events, sizeof(events))) > 0) {
        for (char *at = events; at < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            if (event->mask & IN_Q_OVERFLOW) {
                changed(ctx, NULL);
                moved = true;
            } else if (event->mask & WRITTEN) {
                changed(ctx, event->len ? event->name : NULL);
            } else {
                moved = true;
            }
            at += sizeof(*event) + event->len;
        }
    }
    return moved;
}
