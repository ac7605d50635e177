/* api_documents: what the API says of itself to everybody alike: the OpenAPI document and the page
 * for people. They follow from the rows of the program, so each is made once, by the first request
 * for it (some 100 ms of its worker), and stays; the page names the host of each request. Both have
 * a strong ETag, the same in each server of the same build.
 *
 * Any thread. Memory: some 3 MB from the first request on. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct http_request;

bool api_is_document(slice rest); /* rest: the path below the root of the API, as it came */
/* Answers a GET. base: "https://host/api/v1", for the examples of the page. */
void api_document_answer(struct http_request *r, slice rest, slice base);
