/* hyprxa, the command line tool: what its commands share.
 *
 * A command is one file with one function, and one line in the table of main.c.  It is called by two
 * words, `hyprxa schema validate`, and gets the arguments behind them.  Results go to standard
 * output, what went wrong to standard error. */
#ifndef HYPRXA_CLI_H
#define HYPRXA_CLI_H

#include "base/buf.h"

#include <stdbool.h>

/* Beside 0 and what a command's --help names; 64 and up are those of sysexits.h. */
enum cli_exit {
    CLI_OK = 0,
    CLI_NO = 1,         /* the answer is no */
    CLI_BAD_SCHEMA = 2, /* of `schema` commands */
    CLI_USAGE = 64,     /* the command line is wrong */
    CLI_DATA = 65,      /* the input is not what it must be */
    CLI_NO_INPUT = 66,  /* a file cannot be read */
    CLI_FAILED = 70,    /* out of memory */
};

struct cli_command {
    const char *group, *name;
    const char *summary;               /* one line, for `hyprxa --help` */
    const char *help;                  /* the whole of its --help */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns a cli_exit */
};

extern const struct cli_command cli_schema_validate;

/* Say on standard error that the command line is wrong, and where its help is; returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* All of a file, or of standard input for "-".  What goes wrong is told on standard error.  0 or a
 * cli_exit; a file that does not fit into `ret` is CLI_DATA. */
int cli_read(const char *path, struct buf *ret);
/* How a message names a file: "standard input" for "-". */
const char *cli_file_name(const char *path);

#endif
