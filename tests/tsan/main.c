#include <criterion/criterion.h>

#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_TIMEOUT_S = 120 };

static struct tsan_test *tests;
static struct tsan_suite *suites;
static int failures; /* of the running test */

void tsan_register(struct tsan_test *test)
{
    test->next = tests;
    tests = test;
}

void tsan_register_suite(struct tsan_suite *suite)
{
    suite->next = suites;
    suites = suite;
}

/* The test's own, else its suite's. */
static struct tsan_options options_of(const struct tsan_test *test)
{
    struct tsan_options options = test->options;
    for (const struct tsan_suite *s = suites; s; s = s->next) {
        if (strcmp(s->name, test->suite) != 0)
            continue;
        options.init = options.init ? options.init : s->options.init;
        options.fini = options.fini ? options.fini : s->options.fini;
    }
    return options;
}

void tsan_failed(const char *file, int line, const char *what)
{
    failures++;
    fprintf(stderr, "%s:%d: failed: %s ", file, line, what);
}

void tsan_explain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* In a child: 0 when it passed.  ThreadSanitizer turns a report into exit code 66. */
static int run(const struct tsan_test *test, void *param)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct tsan_options options = options_of(test);
        alarm(TEST_TIMEOUT_S);
        if (options.init)
            options.init();
        if (param)
            test->run_with(param);
        else
            test->run();
        if (options.fini)
            options.fini();
        exit(failures > 0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    if (status != 0)
        fprintf(stderr, "[FAIL] %s::%s: status %#x\n", test->suite, test->name, (unsigned)status);
    return status;
}

int main(int argc, char **argv)
{
    int n = 0, failed = 0;
    for (const struct tsan_test *test = tests; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1]))
            continue;
        struct criterion_test_params params = {0, NULL, 1};
        if (test->params)
            params = test->params();
        for (size_t i = 0; i < params.length; i++) {
            char *at = params.params;
            n++;
            failed += run(test, at ? at + i * params.size : NULL) != 0;
        }
    }
    fprintf(stderr, "tests: %d, failed: %d\n", n, failed);
    return failed > 0;
}
