/* What /proc and /sys tell about this machine.
 *
 * Files are opened once and read again with pread(); reading allocates nothing once the buffer has
 * grown to the largest file.  Not thread-safe: one machine per thread. */
#ifndef HYPRXA_HOST_MACHINE_H
#define HYPRXA_HOST_MACHINE_H

#include <hyprxa/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The files read, and the group of metrics that each gives. */
enum machine_file {
    MACHINE_STAT,      /* cpu.* */
    MACHINE_LOADAVG,   /* load.* */
    MACHINE_MEMINFO,   /* memory.* */
    MACHINE_DISKSTATS, /* disk.* */
    MACHINE_NET_DEV,   /* net.* */
    MACHINE_FILES,     /* how many; also the group of temperature.*, which has a file per zone */
};

/* A metric by name, and its latest value. */
struct metric {
    enum machine_file group;
    int item;        /* which column or line of the file */
    char device[64]; /* disk, interface or zone; empty: none */
    int fd;          /* of a temperature, -1: not open */
    bool present;    /* `value` was read this time */
    struct hyprxa_value value;
};

struct cpu_times {
    uint64_t user, system, iowait, idle, total;
};

struct machine {
    char root[256];
    int fds[MACHINE_FILES];
    struct cpu_times cpu_before;
    char *text; /* of the file just read, NUL-terminated */
    size_t room;
};

/* Split a name such as disk.sda.read_bytes.  False: no metric is called so.  `value` is not set. */
bool metric_parse(const char *name, struct metric *ret);
void metric_release(struct metric *metric);

/* `root` stands before /proc and /sys ("" on a real machine).  False when memory is out. */
bool machine_open(struct machine *m, const char *root);
void machine_close(struct machine *m);

/* Read every metric of the array.  One that the machine does not have (any more), or a share of cpu
 * time at the first reading, is not `present`.  Each file is read at most once. */
void machine_read(struct machine *m, struct metric *metrics, size_t n);

/* Call `each` with the name of every metric that the machine has now. */
typedef void machine_name_fn(void *ctx, const char *name);
void machine_list(struct machine *m, machine_name_fn *each, void *ctx);

#endif
