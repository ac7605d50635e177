/* cert_watch: keeps an eye on the certificates that are in use: the command `cert list`, alarms
 * before they expire and for domains that they do not name, and a metric. */
#pragma once
#include <stdint.h>

struct cert_uses;
struct feature;
struct node_file;
struct cert_watch;

extern const struct feature cert_watch_feature;

/* Reads the certificates of a node file. The file may be freed afterwards. */
struct cert_watch *cert_watch_create(const struct node_file *file);
/* Watches these from now on and takes ownership of them. At the home of the duty, or before workers
 * run. */
void cert_watch_use(struct cert_watch *watch);
/* The certificates in use, until the next cert_watch_use(). At the home of the duty. NULL: none. */
const struct cert_uses *cert_watch_uses(void);
/* The setting cert.notice-from: so many days before its end a certificate is reported. */
int64_t cert_notice_days(void);
/* Looks at all certificates now, and when they are looked at next, in seconds since 1970 (0: not
 * known). At the home of the duty. */
void cert_watch_again(void);
int64_t cert_watch_next(void);
/* Call it after the workers have ended, also if nothing is watched. */
void cert_watch_end(void);
