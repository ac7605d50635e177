/* api_reference: the API as a page for people, at /api/v1/. All of it is read from the OpenAPI
 * document; nothing is known here of a command.
 *
 * It is a plain page; a script (web/admin/reference.js) only filters it and opens what an address
 * names. Any thread. Its size follows from the rows: some 3 MB. */
#pragma once
#include "base/slice.h"

struct buf;

/* base: "https://host/api/v1", for the examples. */
void api_page(struct buf *out, slice base);
