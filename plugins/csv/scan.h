/* Which files a path names, and word of changes to them. */
#ifndef HYPRXA_CSV_SCAN_H
#define HYPRXA_CSV_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct path_list {
    char **paths;
    size_t n, room;
};

/* The files that `path` names now: itself, the *.csv files of a folder, or what a glob matches.  Sorted;
 * other than regular files are left out when they are opened.  False: out of memory. */
bool scan_paths(const char *path, struct path_list *ret);
/* Add "<folder>/<name>", or `name` if `folder` is empty.  False: out of memory. */
bool path_list_add(struct path_list *list, const char *folder, const char *name);
void path_list_release(struct path_list *list);

/* The path of the file `ino` in the folder of `path`, or NULL: none, or out of memory.  free() */
char *scan_for_inode(const char *path, dev_t dev, ino_t ino);

/* Tells of changes through inotify.  The watch does without what it cannot get. */
struct watch {
    int fd; /* for poll(); -1: no inotify here */
    size_t n;
};
void watch_init(struct watch *w);
void watch_release(struct watch *w);
/* Watch the folders in which `path` may find files; repeatable.  False: at least one cannot be watched. */
bool watch_folders(struct watch *w, const char *path);

/* Read what has been told.  `changed(ctx, name)`: the file of that name was written; NULL: any may have
 * been.  Returns true if files have come, gone or been renamed. */
typedef void watch_changed_fn(void *ctx, const char *name);
bool watch_read(struct watch *w, watch_changed_fn *changed, void *ctx);

#endif
