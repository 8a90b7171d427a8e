/* Reads lines of "<query>\t<document>" and answers each with 1, 0 or an error's name. */
#include "base/auto.h"
#include "base/json.h"
#include "storage/filter.h"

#include <stdio.h>
#include <string.h>

static const char *answer(const char *query_text, const char *document_text)
{
    AUTO_JSON *query = NULL;
    AUTO_JSON *document = NULL;
    if (json_parse(query_text, strlen(query_text), &query, NULL) ||
        json_parse(document_text, strlen(document_text), &document, NULL))
        return "no JSON";
    struct filter *f = NULL;
    int rc = filter_new(query, &f, NULL);
    if (!rc)
        rc = filter_match(f, document, NULL);
    filter_free(f);
    return rc == 1 ? "1" : rc == 0 ? "0" : error_code_name(rc);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *tab = strchr(line, '\t');
        if (!tab)
            return 1;
        *tab = '\0';
        puts(answer(line, tab + 1));
    }
    free(line);
    return 0;
}
