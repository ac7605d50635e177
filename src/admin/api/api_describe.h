/* api_describe: GET /api/v1/description: the rows of commands that the caller may run, those that
 * only run on the server's host, and the rows of settings, for the console. What a row says is made
 * once, by the first request. Any thread. */
#pragma once

struct buf;
struct principal;

/* As JSON. Its size follows from the rows: some 150 KB. */
void api_describe(struct buf *out, const struct principal *who);
