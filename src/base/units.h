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

/* Smallest first; of several names for one factor the first is the one that is written. Ended by
 * a row without a name. */
extern const struct unit units_time[];  /* in ms: ms, s, min, h, d, w */
extern const struct unit units_bytes[]; /* B, kB, KiB, MB, MiB, GB, GiB; K, M and G are binary */

enum units_result { UNITS_OK, UNITS_SYNTAX, UNITS_UNKNOWN, UNITS_MISSING, UNITS_OVERFLOW };

/* Numbers with units, which are added up; case does not matter. A number alone is taken times
 * `alone`; 0: only zero may be alone (else UNITS_MISSING). Then *value is set. */
enum units_result units_parse(slice text, const struct unit *units, int64_t alone, int64_t *value);
/* The largest unit that is written and of which the value is a whole multiple. */
const struct unit *units_best(const struct unit *units, int64_t value);
