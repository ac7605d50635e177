/* cert_check: the command `cert check`, which says what clients and other servers will refuse about
 * the certificates in use, and what to do about it. */
#pragma once

struct feature;

extern const struct feature cert_check_feature;
