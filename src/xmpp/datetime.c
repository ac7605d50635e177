#include "xmpp/datetime.h"

static bool digits(slice *text, unsigned count, int64_t *out)
{
    if (text->len < count)
        return false;
    *out = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = text->ptr[i];
        if (c < '0' || c > '9')
            return false;
        *out = *out * 10 + (c - '0');
    }
    *text = slice_from(*text, count);
    return true;
}

static bool mark(slice *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = slice_from(*text, 1);
    return true;
}

static int64_t days_in(int64_t year, int64_t month)
{
    static const int8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Days since 1970-01-01; years begin with March, so that the leap day is the last of its year. */
static int64_t day_number(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* .sss…: any number of digits, at least one */
static bool read_fraction(slice *text, int64_t *us)
{
    int64_t scale = 100000, digit;
    *us = 0;
    if (!mark(text, '.'))
        return true;
    if (!digits(text, 1, &digit))
        return false;
    do {
        *us += digit * scale;
        scale /= 10;
    } while (digits(text, 1, &digit));
    return true;
}

/* Z, or hours and minutes from UTC */
static bool read_zone(slice *text, int64_t *minutes)
{
    int64_t hour, minute;
    *minutes = 0;
    if (mark(text, 'Z'))
        return true;
    bool west = mark(text, '-');
    if (!west && !mark(text, '+'))
        return false;
    if (!digits(text, 2, &hour) || !mark(text, ':') || !digits(text, 2, &minute) || hour > 23 ||
        minute > 59)
        return false;
    *minutes = (hour * 60 + minute) * (west ? -1 : 1);
    return true;
}

bool datetime_parse(slice text, int64_t *us)
{
    int64_t year, month, day, hour, minute, second, fraction, zone;
    if (!digits(&text, 4, &year) || !mark(&text, '-') || !digits(&text, 2, &month) ||
        !mark(&text, '-') || !digits(&text, 2, &day) || !mark(&text, 'T') ||
        !digits(&text, 2, &hour) || !mark(&text, ':') || !digits(&text, 2, &minute) ||
        !mark(&text, ':') || !digits(&text, 2, &second))
        return false;
    if (!read_fraction(&text, &fraction) || !read_zone(&text, &zone) || text.len > 0)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    int64_t at = ((day_number(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
    *us = at * 1000000 + fraction;
    return true;
}

bool datetime_is(slice text)
{
    int64_t us;
    return datetime_parse(text, &us);
}
