/* api_example: values that the reference of the API shows, by the type of the row. They are about
 * one made-up domain, example.org. Any thread. */
#pragma once

struct json_t;
struct command_arg;

/* A value that such an argument may have; the caller frees it. NULL: none is known. */
struct json_t *api_example(const struct command_arg *a);
