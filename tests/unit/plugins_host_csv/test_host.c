#include "toy_host.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(host, .timeout = 60);

#define METRIC(name) "{\"metric\":\"" name "\",\"source\":\"toy\"}"

static struct hyprxa_error err = {.size = sizeof(err)};
static struct toy_store store;
static char options[256];

static void write_machine(void)
{
    tree_write("proc/stat", "cpu  100 50 200 1000 30 10 20 40 0 0\ncpu0 1 1 1 1\n");
    tree_write("proc/loadavg", "0.05 1.50 12.25 2/93 9312\n");
    tree_write("proc/meminfo",
               "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     400 kB\n");
    tree_write("proc/diskstats", "   7       0 loop0 1 0 8 0 2 0 16 0 0 0 0\n"
                                 " 259       0 nvme0n1 10 1 200 5 20 2 300 6 0 7 8\n");
    tree_write("proc/net/dev",
               "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n"
               "    lo:    3193      29    0    0    0     0          0         0     "
               "3194      29    0    0    0     0       0          0\n"
               "eth0.100:7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n");
    tree_write("sys/class/thermal/thermal_zone0/temp", "48250\n");
    tree_write("sys/class/thermal/cooling_device0/type", "Processor\n");
    snprintf(options, sizeof(options), "{\"interval\":\"20ms\",\"root\":\"%s\"}",
             tree_path("%s", ""));
}

/* The first value of `json`; everything published so far is committed. */
static const char *first_value(struct toy_host *t, const char *json)
{
    toy_stop(t);
    toy_commit(t, SIZE_MAX);
    const struct toy_series *s = toy_store_series(&store, json);
    return s && s->n ? s->samples[0].text : "none";
}

static struct toy_host *open_with(const char *const *jsons, size_t n)
{
    struct toy_host *t = toy_open("host", options, &store, &err);
    cr_assert(t, "%s", err.message);
    cr_assert_eq(toy_subscribe(t, jsons, n, &err), HYPRXA_OK, "%s", err.message);
    return t;
}

struct expectation {
    char json[80];
    char value[24];
};

ParameterizedTestParameters(host, reads_the_files_of_the_kernel)
{
    static struct expectation cases[] = {
        {METRIC("load.1"), "d 0.050000000000000003"},
        {METRIC("load.5"), "d 1.5"},
        {METRIC("load.15"), "d 12.25"},
        {METRIC("memory.total"), "i 1024000"},
        {METRIC("memory.available"), "i 409600"},
        {METRIC("memory.used"), "i 614400"},
        {METRIC("disk.nvme0n1.read_bytes"), "i 102400"},
        {METRIC("disk.nvme0n1.written_bytes"), "i 153600"},
        {METRIC("disk.loop0.read_bytes"), "i 4096"},
        {METRIC("net.lo.rx_bytes"), "i 3193"},
        {METRIC("net.lo.tx_bytes"), "i 3194"},
        {METRIC("net.eth0.100.rx_bytes"), "i 7"},
        {METRIC("net.eth0.100.tx_bytes"), "i 9"},
        {METRIC("temperature.thermal_zone0"), "d 48.25"},
    };
    return cr_make_param_array(struct expectation, cases, sizeof(cases) / sizeof(cases[0]));
}
ParameterizedTest(struct expectation *c, host, reads_the_files_of_the_kernel)
{
    write_machine();
    const char *json = c->json;
    struct toy_host *t = open_with(&json, 1);
    cr_assert(toy_wait_samples(t, 1));
    cr_assert_str_eq(first_value(t, c->json), c->value);
    toy_close(t);
}

Test(host, cpu_shares_are_those_of_the_time_since_the_last_tick)
{
    write_machine();
    const char *const jsons[] = {METRIC("cpu.user"), METRIC("cpu.system"), METRIC("cpu.iowait"),
                                 METRIC("cpu.idle"), METRIC("load.1")};
    struct toy_host *t = open_with(jsons, 5);
    cr_assert(toy_wait_samples(t, 1)); /* load.1 of the first tick: no share has a before yet */
    /* 200 ticks later: 20 user, 20 nice, 30 system, 5 irq, 5 softirq, 10 iowait, 100 idle, 10 steal */
    tree_write("proc/stat", "cpu  120 70 230 1100 40 15 25 50 0 0\n");
    cr_assert(toy_wait_samples_of(t, jsons[0], 1));
    cr_expect_str_eq(first_value(t, jsons[0]), "d 20");
    cr_expect_str_eq(first_value(t, jsons[1]), "d 20");
    cr_expect_str_eq(first_value(t, jsons[2]), "d 5");
    cr_expect_str_eq(first_value(t, jsons[3]), "d 50");
    toy_close(t);
}

Test(host, one_call_a_tick_carries_all_metrics)
{
    write_machine();
    const char *const jsons[] = {METRIC("load.1"), METRIC("memory.used"),
                                 METRIC("net.lo.rx_bytes")};
    struct toy_host *t = open_with(jsons, 3);
    cr_assert(toy_wait_samples(t, 30));
    toy_stop(t);
    struct toy_counts counts = toy_counts(t);
    cr_assert_eq(counts.live, counts.calls * 3);
    cr_assert_eq(counts.duplicates + counts.refused, 0);
    toy_close(t);
}

Test(host, ticks_come_at_the_interval)
{
    write_machine();
    const char *json = METRIC("load.1");
    struct toy_host *t = open_with(&json, 1);
    cr_assert(toy_wait_samples(t, 26));
    toy_stop(t);
    toy_commit(t, SIZE_MAX);
    const struct toy_series *s = toy_store_series(&store, json);
    /* Ticks may be late or left out on a busy machine, but the rhythm does not run ahead. */
    cr_assert_geq(s->samples[25].time_us - s->samples[0].time_us, 480000);
    toy_close(t);
}

/* Let `n` more ticks pass. */
static void await_ticks(struct toy_host *t, size_t n)
{
    cr_assert(toy_wait_samples_of(t, METRIC("load.1"), toy_samples_of(t, METRIC("load.1")) + n));
}

Test(host, subscriptions_come_and_go_while_it_samples)
{
    write_machine();
    const char *const first[] = {METRIC("load.1")}, *const second[] = {METRIC("load.5")};
    struct toy_host *t = open_with(first, 1);
    await_ticks(t, 2);
    cr_assert_eq(toy_subscribe(t, second, 1, &err), HYPRXA_OK);
    cr_assert(toy_wait_samples_of(t, second[0], 3));
    toy_unsubscribe(t, second[0]);
    await_ticks(t, 2); /* the tick under way may have had it still */
    size_t before = toy_samples_of(t, second[0]);
    await_ticks(t, 3);
    cr_assert_eq(toy_samples_of(t, second[0]), before);
    cr_assert_eq(toy_subscribe(t, second, 1, &err), HYPRXA_OK);
    cr_assert(toy_wait_samples_of(t, second[0], before + 2));
    toy_close(t);
}

Test(host, a_device_that_vanishes_gives_no_samples_and_one_that_returns_does)
{
    write_machine();
    const char *const jsons[] = {METRIC("temperature.thermal_zone0"), METRIC("load.1")};
    struct toy_host *t = open_with(jsons, 2);
    await_ticks(t, 2);
    tree_write("sys/class/thermal/thermal_zone0/temp", "");
    await_ticks(t, 2);
    size_t before = toy_samples_of(t, jsons[0]);
    await_ticks(t, 3);
    cr_assert_eq(toy_samples_of(t, jsons[0]), before);
    tree_write("sys/class/thermal/thermal_zone0/temp", "50000");
    cr_assert(toy_wait_samples_of(t, jsons[0], before + 1));
    toy_close(t);
}

Test(host, an_absent_metric_is_refused_with_what_there_is)
{
    write_machine();
    const char *json = METRIC("net.eth7.rx_bytes");
    struct toy_host *t = toy_open("host", options, &store, &err);
    cr_assert_eq(toy_subscribe(t, &json, 1, &err), HYPRXA_E_NOT_FOUND);
    cr_assert(strstr(err.message, "'net.eth7.rx_bytes'"), "%s", err.message);
    cr_assert(strstr(err.message, "net.eth0.100.tx_bytes"), "%s", err.message);
    toy_close(t);
}

Test(host, one_absent_metric_refuses_all_that_come_with_it)
{
    write_machine();
    const char *const first[] = {METRIC("load.1")};
    const char *const more[] = {METRIC("load.5"), METRIC("disk.sdz.read_bytes")};
    struct toy_host *t = open_with(first, 1);
    cr_assert_eq(toy_subscribe(t, more, 2, &err), HYPRXA_E_NOT_FOUND);
    await_ticks(t, 3);
    cr_assert_eq(toy_samples_of(t, more[0]), 0);
    toy_close(t);
}

Test(host, lists_what_the_machine_has)
{
    write_machine();
    struct toy_host *t = toy_open("host", options, &store, &err);
    char *list = toy_list(t);
    cr_assert_str_eq(list, "{\"metric\":\"cpu.idle\"}\n"
                           "{\"metric\":\"cpu.iowait\"}\n"
                           "{\"metric\":\"cpu.system\"}\n"
                           "{\"metric\":\"cpu.user\"}\n"
                           "{\"metric\":\"disk.loop0.read_bytes\"}\n"
                           "{\"metric\":\"disk.loop0.written_bytes\"}\n"
                           "{\"metric\":\"disk.nvme0n1.read_bytes\"}\n"
                           "{\"metric\":\"disk.nvme0n1.written_bytes\"}\n"
                           "{\"metric\":\"load.1\"}\n"
                           "{\"metric\":\"load.15\"}\n"
                           "{\"metric\":\"load.5\"}\n"
                           "{\"metric\":\"memory.available\"}\n"
                           "{\"metric\":\"memory.total\"}\n"
                           "{\"metric\":\"memory.used\"}\n"
                           "{\"metric\":\"net.eth0.100.rx_bytes\"}\n"
                           "{\"metric\":\"net.eth0.100.tx_bytes\"}\n"
                           "{\"metric\":\"net.lo.rx_bytes\"}\n"
                           "{\"metric\":\"net.lo.tx_bytes\"}\n"
                           "{\"metric\":\"temperature.thermal_zone0\"}\n");
    free(list);
    toy_close(t);
}

Test(host, an_interval_below_ten_milliseconds_is_refused)
{
    cr_assert_null(toy_open("host", "{\"interval\":\"9ms\",\"root\":\"/\"}", &store, &err));
    cr_assert(strstr(err.message, "'9ms'"), "%s", err.message);
}

Test(host, damaged_files_of_the_kernel_give_no_samples)
{
    write_machine();
    const char *const jsons[] = {METRIC("load.1"),
                                 METRIC("cpu.user"),
                                 METRIC("memory.used"),
                                 METRIC("net.lo.rx_bytes"),
                                 METRIC("disk.nvme0n1.read_bytes"),
                                 METRIC("temperature.thermal_zone0")};
    struct toy_host *t = open_with(jsons, 6);
    await_ticks(t, 2);
    tree_write("proc/stat", "cpu what\n");
    tree_write("proc/meminfo", "MemTotal: 10 kB\nMemAvailable: 20 kB\n");
    tree_write("proc/diskstats", "259 0 nvme0n1 10\n");
    tree_write("proc/net/dev", "lo:\n:::\n");
    tree_write("sys/class/thermal/thermal_zone0/temp", "hot");
    await_ticks(t, 2);
    struct toy_counts before = toy_counts(t);
    size_t ticks = toy_samples_of(t, jsons[0]);
    await_ticks(t, 3);
    toy_stop(t);
    cr_assert_eq(toy_counts(t).live - before.live, toy_samples_of(t, jsons[0]) - ticks);
    toy_close(t);
}

Test(host, the_real_machine_has_load_memory_and_cpu_time)
{
    const char *const jsons[] = {METRIC("load.1"), METRIC("memory.used"), METRIC("cpu.idle")};
    snprintf(options, sizeof(options), "{\"interval\":\"50ms\",\"root\":\"/\"}");
    struct toy_host *t = open_with(jsons, 3);
    cr_assert(toy_wait_samples(t, 8));
    double idle = 0;
    cr_assert_eq(sscanf(first_value(t, METRIC("cpu.idle")), "d %lf", &idle), 1);
    cr_assert(idle >= 0 && idle <= 100);
    cr_assert_eq(strncmp(first_value(t, METRIC("memory.used")), "i ", 2), 0);
    toy_close(t);
}
