/* parse: percent-encoding, paths, queries, ranges and lists of tokens of HTTP. Pure. Results are in
 * `tmp` or borrow the input. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

/* The path of a request without its percent-encoding. E_SYNTAX: it does not begin with a slash, an
 * encoding is not two hex digits, or it holds a control character, a backslash, a "." or ".."
 * segment or is not UTF-8. So accepted paths are safe in file names and logs. */
NODISCARD enum err http_path_decode(slice raw, struct arena *tmp, slice *out);
/* Text without its percent-encoding (RFC 3986 §2.1). E_SYNTAX: an encoding is not two hex digits.
 */
NODISCARD enum err http_percent_decode(slice raw, struct arena *tmp, slice *out);
/* The first value of that name in "a=1&b=two", "+" being a space. false: absent, or malformed. */
bool http_query_get(slice query, const char *name, struct arena *tmp, slice *value);
/* Whether a comma-separated list ("keep-alive, Upgrade") has the token, in any case of letters. */
bool http_has_token(slice list, const char *token);
/* Whether If-None-Match has this entity tag, or "*". A weak one is as good (RFC 9110 §13.1.2): what
 * compresses an answer on its way makes its tag weak. */
bool http_has_etag(slice list, slice etag);

/* One range of bytes (RFC 9110 §14.2) of a representation of `size` bytes; both ends belong to it.
 * What is malformed, of another unit or more than one range is ignored, as the RFC allows. */
enum http_range { HTTP_RANGE_NONE, HTTP_RANGE_PART, HTTP_RANGE_UNSATISFIABLE };
enum http_range http_range_parse(slice header, uint64_t size, uint64_t *first, uint64_t *last);
