/* Tests of draft 2019-09 as tests of 2020-12, where both mean the same. */
#ifndef HYPRXA_TESTS_JSON_SCHEMA_TRANSLATE_H
#define HYPRXA_TESTS_JSON_SCHEMA_TRANSLATE_H

struct json_object;

/* A group of tests (description, schema, tests) with its schema in the words of 2020-12; a new
 * reference.  NULL: it is about something that 2020-12 has not, or has otherwise. */
struct json_object *translate_group(struct json_object *group);

#endif
