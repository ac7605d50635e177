#include "base/clock.h"
#include "base/ensure.h"
#include <time.h>

static uint64_t clock_now_us(clockid_t id)
{
    struct timespec ts;
    ensure(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_mono_us(void) { return clock_now_us(CLOCK_MONOTONIC); }
uint64_t clock_wall_us(void) { return clock_now_us(CLOCK_REALTIME); }

static void two_digits(char *at, uint64_t n)
{
    at[0] = (char)('0' + n / 10 % 10);
    at[1] = (char)('0' + n % 10);
}

/* Not gmtime_r() and strftime(): they take the time zone lock, and every log line comes here. */
void clock_stamp(char out[CLOCK_STAMP_LEN], uint64_t wall_us)
{
    uint64_t us = wall_us % 1000000, seconds = wall_us / 1000000;
    uint64_t second = seconds % 86400;
    /* Days from 1 March of year 0, in eras of 400 years; the leap day is the last of its year. */
    uint64_t day = seconds / 86400 + 719468;
    uint64_t era = day / 146097, day_of_era = day % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);

    static const char pattern[CLOCK_STAMP_LEN] = "0000-00-00T00:00:00.000000Z";
    for (int i = 0; i < CLOCK_STAMP_LEN; i++)
        out[i] = pattern[i];
    two_digits(out, year / 100);
    two_digits(out + 2, year);
    two_digits(out + 5, month);
    two_digits(out + 8, day_of_year - (153 * month_from_march + 2) / 5 + 1);
    two_digits(out + 11, second / 3600);
    two_digits(out + 14, second / 60 % 60);
    two_digits(out + 17, second % 60);
    two_digits(out + 20, us / 10000);
    two_digits(out + 22, us / 100);
    two_digits(out + 24, us);
}
