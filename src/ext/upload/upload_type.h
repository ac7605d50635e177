/* upload_type: the media types of files (RFC 9110 §8.3.1): type "/" subtype, perhaps with
 * parameters, as in "text/plain; charset=utf-8". Any thread; the setting upload.types says which
 * may be stored. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

/* As it is kept: the type and the names of parameters in lower case, "; " before each. In tmp.
 * E_SYNTAX: not a media type, or then longer than UPLOAD_TYPE_MAX. */
NODISCARD enum err upload_type_read(slice text, struct arena *tmp, slice *out);
/* The following take types as they are kept. */
slice upload_type_plain(slice type); /* without its parameters, by which no types differ here */
bool upload_type_allowed(slice type);
bool upload_types_ok(slice text); /* of upload.types */
