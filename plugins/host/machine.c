#include "machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXT_ROOM = 16 * 1024,      /* enough for every file of an ordinary machine */
    TEXT_MAX = 8 * 1024 * 1024, /* what lies beyond is not read */
    SECTOR_SIZE = 512,          /* the unit of /proc/diskstats, whatever the disk's own is */
    NAME_SIZE = 128,
    PATH_SIZE = 512,
};

static const char *const file_paths[MACHINE_FILES] = {
    [MACHINE_STAT] = "/proc/stat",       [MACHINE_LOADAVG] = "/proc/loadavg",
    [MACHINE_MEMINFO] = "/proc/meminfo", [MACHINE_DISKSTATS] = "/proc/diskstats",
    [MACHINE_NET_DEV] = "/proc/net/dev",
};

#define ZONES_PATH "/sys/class/thermal"

enum { CPU_USER, CPU_SYSTEM, CPU_IOWAIT, CPU_IDLE };
enum { MEMORY_TOTAL, MEMORY_AVAILABLE, MEMORY_USED };

/* The names: those without a device whole, those with one as what stands around it. */
static const struct {
    const char *name;
    enum machine_file group;
    int item;
} plain_names[] = {
    {"cpu.user", MACHINE_STAT, CPU_USER},
    {"cpu.system", MACHINE_STAT, CPU_SYSTEM},
    {"cpu.iowait", MACHINE_STAT, CPU_IOWAIT},
    {"cpu.idle", MACHINE_STAT, CPU_IDLE},
    {"load.1", MACHINE_LOADAVG, 0},
    {"load.5", MACHINE_LOADAVG, 1},
    {"load.15", MACHINE_LOADAVG, 2},
    {"memory.total", MACHINE_MEMINFO, MEMORY_TOTAL},
    {"memory.available", MACHINE_MEMINFO, MEMORY_AVAILABLE},
    {"memory.used", MACHINE_MEMINFO, MEMORY_USED},
};

/* `item` of disks and interfaces is the column of the counter, counted behind the device's name. */
static const struct {
    const char *before, *after;
    enum machine_file group;
    int item;
} device_names[] = {
    {"disk.", ".read_bytes", MACHINE_DISKSTATS, 2},
    {"disk.", ".written_bytes", MACHINE_DISKSTATS, 6},
    {"net.", ".rx_bytes", MACHINE_NET_DEV, 0},
    {"net.", ".tx_bytes", MACHINE_NET_DEV, 8},
    {"temperature.", "", MACHINE_FILES, 0},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool metric_parse(const char *name, struct metric *ret)
{
    struct metric m = {.fd = -1};
    size_t len = strlen(name);
    for (size_t i = 0; i < COUNT(plain_names); i++) {
        if (strcmp(name, plain_names[i].name) == 0) {
            m.group = plain_names[i].group;
            m.item = plain_names[i].item;
            *ret = m;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(device_names); i++) {
        size_t before = strlen(device_names[i].before), after = strlen(device_names[i].after);
        if (len > before + after && len - before - after < sizeof(m.device) &&
            strncmp(name, device_names[i].before, before) == 0 &&
            strcmp(name + len - after, device_names[i].after) == 0) {
            memcpy(m.device, name + before, len - before - after);
            m.group = device_names[i].group;
            m.item = device_names[i].item;
            *ret = m;
            return m.group != MACHINE_FILES || !strchr(m.device, '/');
        }
    }
    return false;
}

void metric_release(struct metric *metric)
{
    if (metric->fd >= 0) {
        close(metric->fd);
        metric->fd = -1;
    }
}

bool machine_open(struct machine *m, const char *root)
{
    *m = (struct machine){.room = TEXT_ROOM};
    snprintf(m->root, sizeof(m->root), "%s", root);
    for (int i = 0; i < MACHINE_FILES; i++) {
        m->fds[i] = -1;
    }
    m->text = malloc(m->room);
    return m->text != NULL;
}

void machine_close(struct machine *m)
{
    for (int i = 0; i < MACHINE_FILES; i++) {
        if (m->fds[i] >= 0) {
            close(m->fds[i]);
            m->fds[i] = -1;
        }
    }
    free(m->text);
    m->text = NULL;
}

/* --- reading files --- */

static int open_below(const struct machine *m, const char *path)
{
    char full[PATH_SIZE];
    int n = snprintf(full, sizeof(full), "%s%s", m->root, path);
    return n > 0 && (size_t)n < sizeof(full) ? open(full, O_RDONLY | O_CLOEXEC) : -1;
}

/* Fill m->text with the file from its start.  False when it cannot be read. */
static bool read_fd(struct machine *m, int fd)
{
    size_t len = 0;
    for (;;) {
        if (len + 1 == m->room) {
            char *grown = m->room < TEXT_MAX ? realloc(m->text, m->room * 2) : NULL;
            if (!grown) {
                break;
            }
            m->text = grown;
            m->room *= 2;
        }
        ssize_t n = pread(fd, m->text + len, m->room - len - 1, (off_t)len);
        if (n < 0) {
            return false;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    m->text[len] = '\0';
    return len > 0;
}

/* Read the file `*fd`, opening it when that is not done or the open one has died. */
static bool read_again(struct machine *m, int *fd, const char *path)
{
    if (*fd >= 0 && read_fd(m, *fd)) {
        return true;
    }
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = open_below(m, path);
    return *fd >= 0 && read_fd(m, *fd);
}

static bool read_file(struct machine *m, enum machine_file file)
{
    return read_again(m, &m->fds[file], file_paths[file]);
}

/* --- values --- */

static void set_int(struct metric *metric, uint64_t value)
{
    metric->present = value <= INT64_MAX;
    metric->value = (struct hyprxa_value){.type = HYPRXA_INT64, .as.i64 = (int64_t)value};
}

static void set_double(struct metric *metric, double value)
{
    metric->present = true;
    metric->value = (struct hyprxa_value){.type = HYPRXA_DOUBLE, .as.f64 = value};
}

static bool parse_cpu(const char *text, struct cpu_times *ret)
{
    uint64_t user, nice, system, idle, iowait = 0, irq = 0, softirq = 0, steal = 0;
    int n = sscanf(text,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                   " %" SCNu64 " %" SCNu64,
                   &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
    if (n < 4) {
        return false;
    }
    ret->user = user + nice;
    ret->system = system + irq + softirq;
    ret->iowait = iowait;
    ret->idle = idle;
    ret->total = ret->user + ret->system + iowait + idle + steal;
    return true;
}

/* Part of the time between two readings; the kernel's iowait and idle may step back a little. */
static double percent(uint64_t before, uint64_t now, uint64_t elapsed)
{
    return now > before ? 100.0 * (double)(now - before) / (double)elapsed : 0.0;
}

static void read_cpu(struct machine *m, struct metric *metrics, size_t n)
{
    struct cpu_times now, before = m->cpu_before;
    if (!parse_cpu(m->text, &now) || now.total <= before.total) {
        return;
    }
    m->cpu_before = now;
    if (before.total == 0) {
        return;
    }
    uint64_t elapsed = now.total - before.total;
    const double shares[] = {[CPU_USER] = percent(before.user, now.user, elapsed),
                             [CPU_SYSTEM] = percent(before.system, now.system, elapsed),
                             [CPU_IOWAIT] = percent(before.iowait, now.iowait, elapsed),
                             [CPU_IDLE] = percent(before.idle, now.idle, elapsed)};
    for (size_t i = 0; i < n; i++) {
        if (metrics[i].group == MACHINE_STAT) {
            set_double(&metrics[i], shares[metrics[i].item]);
        }
    }
}

static void read_load(const struct machine *m, struct metric *metrics, size_t n)
{
    unsigned whole[3], hundredths[3]; /* not as double: strtod() heeds the process's locale */
    if (sscanf(m->text, "%u.%2u %u.%2u %u.%2u", &whole[0], &hundredths[0], &whole[1],
               &hundredths[1], &whole[2], &hundredths[2]) != 6) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (metrics[i].group == MACHINE_LOADAVG) {
            int item = metrics[i].item;
            set_double(&metrics[i], (100.0 * whole[item] + hundredths[item]) / 100.0);
        }
    }
}

/* The value in bytes of a line of /proc/meminfo. */
static bool meminfo(const char *text, const char *label, uint64_t *ret)
{
    const char *at = strstr(text, label);
    uint64_t kib;
    if (!at || sscanf(at + strlen(label), " %" SCNu64, &kib) != 1) {
        return false;
    }
    *ret = kib * 1024;
    return true;
}

static void read_memory(const struct machine *m, struct metric *metrics, size_t n)
{
    uint64_t total, available;
    if (!meminfo(m->text, "MemTotal:", &total) || !meminfo(m->text, "MemAvailable:", &available) ||
        available > total) {
        return;
    }
    const uint64_t values[] = {
        [MEMORY_TOTAL] = total, [MEMORY_AVAILABLE] = available, [MEMORY_USED] = total - available};
    for (size_t i = 0; i < n; i++) {
        if (metrics[i].group == MACHINE_MEMINFO) {
            set_int(&metrics[i], values[metrics[i].item]);
        }
    }
}

/* Column `column` of the numbers at `text`. */
static bool column_value(const char *text, int column, uint64_t *ret)
{
    for (int i = 0;; i++) {
        char *end;
        uint64_t value = strtoull(text, &end, 10);
        if (end == text || *text == '\n') {
            return false;
        }
        if (i == column) {
            *ret = value;
            return true;
        }
        text = end;
    }
}

/* The device's name in a line of /proc/diskstats or /proc/net/dev, and where its numbers start. */
static bool line_device(enum machine_file file, const char *line, size_t len, char device[64],
                        const char **ret_numbers)
{
    int n = 0;
    char text[256];
    if (len >= sizeof(text)) {
        len = sizeof(text) - 1; /* the name stands at the start */
    }
    memcpy(text, line, len);
    text[len] = '\0';
    int fields = file == MACHINE_DISKSTATS ? sscanf(text, " %*u %*u %63s%n", device, &n)
                                           : sscanf(text, " %63[^: ]:%n", device, &n);
    *ret_numbers = line + n;
    return fields == 1 && n > 0;
}

typedef void device_fn(void *ctx, const char *device, const char *numbers);

static void each_device(const struct machine *m, enum machine_file file, device_fn *each, void *ctx)
{
    for (const char *line = m->text; *line;) {
        const char *end = strchrnul(line, '\n');
        const char *numbers;
        char device[64];
        if (line_device(file, line, (size_t)(end - line), device, &numbers)) {
            each(ctx, device, numbers);
        }
        line = *end ? end + 1 : end;
    }
}

struct device_metrics {
    enum machine_file file;
    struct metric *metrics;
    size_t n;
};

static void read_device(void *ctx, const char *device, const char *numbers)
{
    const struct device_metrics *d = ctx;
    for (size_t i = 0; i < d->n; i++) {
        struct metric *metric = &d->metrics[i];
        uint64_t value;
        if (metric->group == d->file && strcmp(metric->device, device) == 0 &&
            column_value(numbers, metric->item, &value)) {
            set_int(metric, d->file == MACHINE_DISKSTATS ? value * SECTOR_SIZE : value);
        }
    }
}

static void read_temperature(struct machine *m, struct metric *metric)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), ZONES_PATH "/%s/temp", metric->device);
    if (read_again(m, &metric->fd, path)) {
        char *end;
        long millidegrees = strtol(m->text, &end, 10);
        if (end != m->text) {
            set_double(metric, (double)millidegrees / 1000.0);
        }
    }
}

void machine_read(struct machine *m, struct metric *metrics, size_t n)
{
    bool wanted[MACHINE_FILES + 1] = {false};
    for (size_t i = 0; i < n; i++) {
        wanted[metrics[i].group] = true;
        metrics[i].present = false;
    }
    if (!wanted[MACHINE_STAT]) {
        m->cpu_before.total = 0; /* a later share is not to span the time nobody asked */
    }
    for (enum machine_file file = 0; file < MACHINE_FILES; file++) {
        if (!wanted[file] || !read_file(m, file)) {
            continue;
        }
        struct device_metrics devices = {file, metrics, n};
        switch (file) {
        case MACHINE_STAT:
            read_cpu(m, metrics, n);
            break;
        case MACHINE_LOADAVG:
            read_load(m, metrics, n);
            break;
        case MACHINE_MEMINFO:
            read_memory(m, metrics, n);
            break;
        default:
            each_device(m, file, read_device, &devices);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (metrics[i].group == MACHINE_FILES) {
            read_temperature(m, &metrics[i]);
        }
    }
}

/* --- listing --- */

struct lister {
    enum machine_file file;
    machine_name_fn *each;
    void *ctx;
};

static void list_device(void *ctx, const char *device, const char *numbers)
{
    const struct lister *l = ctx;
    (void)numbers;
    for (size_t i = 0; i < COUNT(device_names); i++) {
        if (device_names[i].group == l->file) {
            char name[NAME_SIZE];
            snprintf(name, sizeof(name), "%s%s%s", device_names[i].before, device,
                     device_names[i].after);
            l->each(l->ctx, name);
        }
    }
}

static void list_zones(struct machine *m, const struct lister *l)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s" ZONES_PATH, m->root);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char name[sizeof("temperature.") + sizeof(entry->d_name)];
        struct metric metric;
        snprintf(name, sizeof(name), "temperature.%s", entry->d_name);
        if (entry->d_name[0] != '.' && metric_parse(name, &metric)) {
            read_temperature(m, &metric);
            if (metric.present) {
                l->each(l->ctx, name);
            }
            metric_release(&metric);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void machine_list(struct machine *m, machine_name_fn *each, void *ctx)
{
    for (enum machine_file file = 0; file < MACHINE_FILES; file++) {
        if (!read_file(m, file)) {
            continue;
        }
        struct lister lister = {file, each, ctx};
        for (size_t i = 0; i < COUNT(plain_names); i++) {
            if (plain_names[i].group == file) {
                each(ctx, plain_names[i].name);
            }
        }
        each_device(m, file, list_device, &lister);
    }
    list_zones(m, &(struct lister){MACHINE_FILES, each, ctx});
}
