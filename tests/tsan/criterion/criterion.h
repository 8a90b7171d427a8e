/* A stand-in for Criterion under ThreadSanitizer, where the real one cannot map its memory.
 *
 * It offers the part of the interface that threaded unit tests use: each test runs in a child
 * process of its own with an alarm, and names what fails.  Put this folder before the system's
 * in the include path (as a system one) and do not link criterion. */
#ifndef TESTS_TSAN_CRITERION_H
#define TESTS_TSAN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct criterion_test_params {
    size_t size;
    void *params;
    size_t length;
};
struct tsan_options { /* of those that Criterion takes, what our tests use */
    char unused;
    void (*init)(void), (*fini)(void);
    double timeout;
};
struct tsan_suite {
    const char *name;
    struct tsan_options options;
    struct tsan_suite *next;
};
void tsan_register_suite(struct tsan_suite *suite);
struct tsan_test {
    const char *suite, *name;
    struct tsan_options options;
    void (*run)(void);
    void (*run_with)(void *param);
    struct criterion_test_params (*params)(void);
    struct tsan_test *next;
};
void tsan_register(struct tsan_test *test);
/* Count and print a failure. */
void tsan_failed(const char *file, int line, const char *what);
void tsan_explain(const char *format, ...);

#define TestSuite(s, ...)                                                             \
    static struct tsan_suite tsan_suite_##s = {#s, {.unused = 0, __VA_ARGS__}, NULL}; \
    __attribute__((constructor)) static void tsan_register_suite_##s(void)            \
    {                                                                                 \
        tsan_register_suite(&tsan_suite_##s);                                         \
    }                                                                                 \
    struct tsan_suite_ends_##s

#define TSAN_REGISTER(s, n, ...)                                                          \
    static struct tsan_test tsan_test_##s##_##n = {.suite = #s, .name = #n, __VA_ARGS__}; \
    __attribute__((constructor)) static void tsan_register_##s##_##n(void)                \
    {                                                                                     \
        tsan_register(&tsan_test_##s##_##n);                                              \
    }

#define Test(s, n, ...)                                                                   \
    static void tsan_run_##s##_##n(void);                                                 \
    TSAN_REGISTER(s, n, .run = tsan_run_##s##_##n, .options = {.unused = 0, __VA_ARGS__}) \
    static void tsan_run_##s##_##n(void)

#define ParameterizedTestParameters(s, n) \
    static struct criterion_test_params tsan_params_##s##_##n(void)
#define cr_make_param_array(type, array, len) \
    (struct criterion_test_params)            \
    {                                         \
        sizeof(type), (array), (len)          \
    }
#define ParameterizedTest(param, s, n, ...)                                              \
    static void tsan_body_##s##_##n(param);                                              \
    static void tsan_run_##s##_##n(void *p)                                              \
    {                                                                                    \
        tsan_body_##s##_##n(p);                                                          \
    }                                                                                    \
    TSAN_REGISTER(s, n, .run_with = tsan_run_##s##_##n, .params = tsan_params_##s##_##n, \
                  .options = {.unused = 0, __VA_ARGS__})                                 \
    static void tsan_body_##s##_##n(param)

#define TSAN_CHECK(fatal, condition, ...)                \
    do {                                                 \
        if (!(condition)) {                              \
            tsan_failed(__FILE__, __LINE__, #condition); \
            tsan_explain("" __VA_ARGS__);                \
            if (fatal)                                   \
                exit(1);                                 \
        }                                                \
    } while (0)

#define cr_assert(c, ...)            TSAN_CHECK(true, c, __VA_ARGS__)
#define cr_assert_not(c, ...)        TSAN_CHECK(true, !(c), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)      TSAN_CHECK(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)     TSAN_CHECK(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)      TSAN_CHECK(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)     TSAN_CHECK(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)      TSAN_CHECK(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)     TSAN_CHECK(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_null(p, ...)       TSAN_CHECK(true, (p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...)   TSAN_CHECK(true, (p) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)  TSAN_CHECK(true, strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) TSAN_CHECK(true, strcmp((a), (b)) != 0, __VA_ARGS__)

#define cr_expect(c, ...)            TSAN_CHECK(false, c, __VA_ARGS__)
#define cr_expect_not(c, ...)        TSAN_CHECK(false, !(c), __VA_ARGS__)
#define cr_expect_eq(a, b, ...)      TSAN_CHECK(false, (a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...)     TSAN_CHECK(false, (a) != (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...)      TSAN_CHECK(false, (a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...)     TSAN_CHECK(false, (a) <= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...)      TSAN_CHECK(false, (a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...)     TSAN_CHECK(false, (a) >= (b), __VA_ARGS__)
#define cr_expect_null(p, ...)       TSAN_CHECK(false, (p) == NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...)   TSAN_CHECK(false, (p) != NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)  TSAN_CHECK(false, strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) TSAN_CHECK(false, strcmp((a), (b)) != 0, __VA_ARGS__)

#define cr_skip_test(...)                      \
    do {                                       \
        tsan_explain("skipped: " __VA_ARGS__); \
        exit(0);                               \
    } while (0)
#define cr_log_info(...) tsan_explain("" __VA_ARGS__)

#endif
