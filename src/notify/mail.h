/* mail: short mails to administrators, given to the relay of the setting mail.relay. One at a time,
 * at the home of DUTY_CERTS. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct arena;
struct feature;
struct worker;

extern const struct feature mail_feature;

enum { MAIL_RECIPIENTS_MAX = 20, MAIL_ADDRESS_MAX = 254, MAIL_TEXT_BYTES_MAX = 64 << 10 };

/* "ann@a.test; bob@b.test": whether each is an address, and how many. */
bool mail_addresses_ok(slice list);
size_t mail_addresses(slice list, slice out[MAIL_RECIPIENTS_MAX]);

/* The first domain of the node with A-labels, for what must be ASCII. */
const char *mail_host(const struct worker *w, struct arena *arena);

struct mail_end {
    const char *why;  /* it was not sent; NULL: the relay has it */
    const char *note; /* about recipients that it refuses, or "" */
    slice later; /* without why: those it refuses for the moment only, as mail_send() takes them */
    bool ours;   /* with why: the settings of this server lack something */
};
typedef void mail_fn(void *arg, const struct mail_end *end);
/* subject: ASCII. Everything is copied. The callback comes once, from the loop and never from
 * inside; none comes after mail_stop(). false: another mail is on its way. */
bool mail_send(struct worker *w, slice to, slice subject, slice text, mail_fn *done, void *arg);
void mail_stop(void); /* the server stops */
