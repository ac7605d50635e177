/* units: times and sizes as people write them: "90s", "2 minutes", "1h30min", "10MB", "10 MiB".
 * Pure. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct unit {
    const char *name;
    int64_t factor;
    bool read_only; /* understood, but not written */
};

/* Smallest first. Of several names for one factor, the first is used for output. Ended by a row
 * without a name. */
extern const struct unit units_time[];  /* in ms: ms, s, min, h, d, w */
extern const struct unit units_bytes[]; /* B, kB, KiB, MB, MiB … TiB; K, M, G and T are binary */

enum units_result { UNITS_OK, UNITS_SYNTAX, UNITS_UNKNOWN, UNITS_MISSING, UNITS_OVERFLOW };

/* Parses numbers with units and adds them up; case does not matter. With a unit a number may have
 * up to six digits behind a point. One without is multiplied by `alone`; if that is 0, only zero
 * may have no unit (otherwise UNITS_MISSING). *value is set only with UNITS_OK. */
enum units_result units_parse(slice text, const struct unit *units, int64_t alone, int64_t *value);
/* The largest unit for output of which the value is a whole multiple. */
const struct unit *units_best(const struct unit *units, int64_t value);
