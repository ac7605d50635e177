/* cert_watch: keeps an eye on the certificates that are in use: the command `cert list`, alarms
 * before they expire and for domains that they do not name, and a metric. */
#pragma once

struct feature;
struct node_file;
struct cert_watch;

extern const struct feature cert_watch_feature;

/* What the certificates of a node file say; reads them. */
struct cert_watch *cert_watch_create(const struct node_file *file);
/* These are in use from now on; takes them over. On worker 0, or before workers run. */
void cert_watch_use(struct cert_watch *watch);
/* After the workers have ended; nothing in use is fine. */
void cert_watch_end(void);
