/* totp: codes that change with the time (RFC 6238), with HMAC-SHA-1, six digits and steps of 30 s,
 * as every app for them has. Pure, any thread. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

enum { TOTP_SECRET_BYTES = 20, TOTP_DIGITS = 6, TOTP_STEP_S = 30 };
enum { TOTP_TEXT_MAX = 2 * TOTP_DIGITS }; /* of a code with spaces */
enum { TOTP_BASE32_TEXT = TOTP_SECRET_BYTES * 8 / 5 };

int64_t totp_step(uint64_t wall_us);
/* RFC 4226 §5.3, of the last `digits` decimal digits, at most 8. */
void totp_code(slice secret, int64_t step, unsigned digits, char *out);
/* The step whose code this is: the current one, the one before it or the one after it (RFC 6238
 * §5.2); -1: of none. Spaces and hyphens in the code, as apps show them, do not count. Takes the
 * same time for all. */
int64_t totp_find(slice secret, slice code, int64_t now);
/* RFC 4648 §6, of TOTP_SECRET_BYTES, which need no padding. */
void totp_base32(const unsigned char secret[TOTP_SECRET_BYTES], char out[TOTP_BASE32_TEXT + 1]);
