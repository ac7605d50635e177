/* cert_monitor: mails about certificates that expire: the settings cert.notice-every, cert.mail and
 * cert.mail-to, the commands `cert monitor` and `cert mail-test`, and the alarm mail.failed.
 *
 * When each certificate was last told of is in the file cert-notices of the data folder. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct feature;
struct worker;

extern const struct feature cert_monitor_feature;

/* A certificate that expires soon, or has expired. */
struct cert_expiring {
    const char *fingerprint;
    const char *what; /* "a.test, b.test", or the subject of one that is trusted */
    int64_t not_after;
};

/* Reads the file. Main's thread, while no worker runs. */
void cert_monitor_begin(const char *data);
/* The relay has taken a mail of somebody else. At the home of DUTY_CERTS. */
void cert_monitor_mail_works(void);
/* Tells of those whose time has come. At the home of DUTY_CERTS. */
void cert_monitor_look(struct worker *w, const struct cert_expiring *all, size_t count);
