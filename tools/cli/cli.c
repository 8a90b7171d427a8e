#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { READ_SIZE = 64 << 10 };

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "hyprxa %s %s: ", command->group, command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry 'hyprxa %s %s --help'.\n", command->group, command->name);
    va_end(args);
    return CLI_USAGE;
}

const char *cli_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static int failed(const char *path, int status, const char *why)
{
    fprintf(stderr, "hyprxa: %s: %s\n", cli_file_name(path), why);
    return status;
}

int cli_read(const char *path, struct buf *ret)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (!file)
        return failed(path, CLI_NO_INPUT, strerror(errno));
    int status = 0;
    size_t got;
    char part[READ_SIZE];
    errno = 0;
    while (!status && (got = fread(part, 1, sizeof part, file)) > 0)
        if (buf_append(ret, part, got))
            status = failed(path, CLI_DATA, "the file is too large");
    if (!status && ferror(file))
        status = failed(path, CLI_NO_INPUT, strerror(errno));
    if (!is_stdin)
        fclose(file);
    return status;
}
