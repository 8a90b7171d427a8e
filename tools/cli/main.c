/* The table of commands, and finding one in it. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cli_schema_validate,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

/* The commands of a group (NULL: all). */
static void print_commands(FILE *out, const char *group)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const struct cli_command *c = commands[i];
        if (!group || strcmp(c->group, group) == 0)
            fprintf(out, "  %s %-20s %s\n", c->group, c->name, c->summary);
    }
}

static void print_usage(FILE *out, const char *group)
{
    fprintf(out,
            "Usage: hyprxa %s COMMAND [ARGUMENT]...\n"
            "       hyprxa %s COMMAND --help\n"
            "       hyprxa --version\n"
            "\n"
            "Commands:\n",
            group ? group : "GROUP", group ? group : "GROUP");
    print_commands(out, group);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->group, word) == 0)
            return true;
    return false;
}

static const struct cli_command *find(const char *group, const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->group, group) == 0 && strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* "--help" before a "--". */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

static int refuse(const char *word, const char *group)
{
    fprintf(stderr, "hyprxa: no %s is called '%s'\n", group ? "command" : "group of commands",
            word);
    print_usage(stderr, group);
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr, NULL);
        return CLI_USAGE;
    }
    if (is_help(argv[1])) {
        print_usage(stdout, NULL);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("hyprxa " HYPRXA_VERSION);
        return CLI_OK;
    }
    if (!is_group(argv[1]))
        return refuse(argv[1], NULL);
    if (argc < 3) {
        print_usage(stderr, argv[1]);
        return CLI_USAGE;
    }
    if (is_help(argv[2])) {
        print_usage(stdout, argv[1]);
        return CLI_OK;
    }
    const struct cli_command *command = find(argv[1], argv[2]);
    if (!command)
        return refuse(argv[2], argv[1]);
    if (asks_for_help(argc - 3, argv + 3)) {
        fputs(command->help, stdout);
        return CLI_OK;
    }
    return command->run(argc - 2, argv + 2);
}
