/* api_example: values that the reference of the API shows, by the type of the row. They are about
 * one made-up domain, example.org. Any thread. */
#pragma once

struct json_t;
struct param;

/* A value that such a parameter may have; the caller frees it. NULL: none is known. */
struct json_t *api_example(const struct param *p);
