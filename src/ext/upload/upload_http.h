/* upload_http: the files of uploads over HTTP: PUT on a signed slot, GET with ranges. Workers never
 * touch a file: each step on it is a task of a helper thread, one at a time for a request, and the
 * connection is not read, or nothing more is sent, while one is under way.
 *
 * A PUT: header checked -> temporary file -> pieces written and hashed -> flushed to disk -> row
 * committed -> moved to its place -> 201. What fails on the way leaves neither file nor row behind;
 * from the commit on it goes on without the client.
 *
 * Of one account at most UNDERWAY_MAX files are on their way in, and together they take no more
 * than one account may store: quotas count them only when they are complete. */
#pragma once
#include "http/server.h"

extern const struct http_route upload_routes[];
