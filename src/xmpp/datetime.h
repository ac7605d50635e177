/* datetime: the DateTime of XEP-0082 §3.2, `CCYY-MM-DDThh:mm:ss[.fraction]TZD`. Written with
 * clock_stamp() (base/clock.h). Pure. */
#pragma once
#include "base/slice.h"

/* Microseconds since 1970 UTC, negative before it; digits beyond microseconds are cut off.
 * false: not a DateTime, or a day that does not exist. */
bool datetime_parse(slice text, int64_t *us);
/* `check` of arguments of commands, which say so in their `form`. */
bool datetime_is(slice text);
#define DATETIME_FORM "a time such as 2026-11-20T23:14:38Z"
