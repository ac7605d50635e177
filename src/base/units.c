#include "base/units.h"
#include <stddef.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, WEEK = 7 * DAY };

const struct unit units_time[] = {
    { "ms", 1, false },          { "s", SECOND, false },       { "sec", SECOND, false },
    { "second", SECOND, false }, { "seconds", SECOND, false }, { "min", MINUTE, false },
    { "m", MINUTE, false },      { "minute", MINUTE, false },  { "minutes", MINUTE, false },
    { "h", HOUR, false },        { "hour", HOUR, false },      { "hours", HOUR, false },
    { "d", DAY, false },         { "day", DAY, false },        { "days", DAY, false },
    { "w", WEEK, true },         { "week", WEEK, true },       { "weeks", WEEK, true },
    { NULL, 0, false },
};

/* KiB is 1024 bytes and kB is 1000 (IEC 80000-13). K is 1024, as in most configuration files. */
const struct unit units_bytes[] = {
    { "B", 1, false },
    { "bytes", 1, false },
    { "kB", 1000, false },
    { "KiB", 1 << 10, false },
    { "K", 1 << 10, false },
    { "MB", 1000000, false },
    { "MiB", 1 << 20, false },
    { "M", 1 << 20, false },
    { "GB", 1000000000, false },
    { "GiB", 1 << 30, false },
    { "G", 1 << 30, false },
    { "TB", INT64_C(1000000000000), false },
    { "TiB", INT64_C(1) << 40, false },
    { "T", INT64_C(1) << 40, false },
    { NULL, 0, false },
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool units_is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static slice skip(slice text, bool (*belongs)(char c), slice *taken)
{
    size_t len = 0;
    while (len < text.len && belongs(text.ptr[len]))
        len++;
    *taken = (slice){ text.ptr, len };
    return slice_from(text, len);
}

static slice skip_space(slice text)
{
    while (text.len > 0 && text.ptr[0] == ' ')
        text = slice_from(text, 1);
    return text;
}

static const struct unit *units_find(const struct unit *units, slice name)
{
    for (; units->name != NULL; units++) {
        if (slice_eq_nocase(name, slice_of(units->name)))
            return units;
    }
    return NULL;
}

enum { FRACTION_DIGITS_MAX = 6 };

/* Adds the fraction of a unit, from its digits behind the point: the 5 of 1.5GB. Rounds down. */
static enum units_result units_fraction(slice digits, const struct unit *unit, int64_t *sum)
{
    int64_t number, of = 1;
    if (unit == NULL || digits.len == 0 || digits.len > FRACTION_DIGITS_MAX ||
        !slice_int(digits, &number))
        return UNITS_SYNTAX;
    for (size_t i = 0; i < digits.len; i++)
        of *= 10;
    /* split, so that the product cannot overflow */
    int64_t part = unit->factor / of * number + unit->factor % of * number / of;
    return __builtin_add_overflow(*sum, part, sum) ? UNITS_OVERFLOW : UNITS_OK;
}

enum units_result units_parse(slice text, const struct unit *units, int64_t alone, int64_t *value)
{
    int64_t sum = 0, number;
    slice digits, behind, name;
    bool first = true;
    do {
        text = skip(text, is_digit, &digits);
        bool point = text.len > 0 && text.ptr[0] == '.';
        if (point)
            text = skip(slice_from(text, 1), is_digit, &behind);
        text = skip_space(text);
        text = skip_space(skip(text, units_is_letter, &name));
        if (digits.len == 0)
            return UNITS_SYNTAX;
        if (!slice_int(digits, &number))
            return UNITS_OVERFLOW;
        const struct unit *unit = units_find(units, name);
        if (name.len > 0 && unit == NULL)
            return UNITS_UNKNOWN;
        if (unit == NULL && (!first || text.len > 0))
            return UNITS_SYNTAX;
        if (unit == NULL && alone == 0 && number != 0)
            return UNITS_MISSING;
        if (__builtin_mul_overflow(number, unit != NULL ? unit->factor : alone, &number) ||
            __builtin_add_overflow(sum, number, &sum))
            return UNITS_OVERFLOW;
        enum units_result fraction = point ? units_fraction(behind, unit, &sum) : UNITS_OK;
        if (fraction != UNITS_OK)
            return fraction;
        first = false;
    } while (text.len > 0);
    *value = sum;
    return UNITS_OK;
}

const struct unit *units_best(const struct unit *units, int64_t value)
{
    const struct unit *best = units;
    for (; units->name != NULL; units++) {
        if (!units->read_only && value % units->factor == 0 && units->factor > best->factor)
            best = units;
    }
    return best;
}
