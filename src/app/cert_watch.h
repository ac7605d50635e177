/* cert_watch: keeps an eye on the certificates that are in use: the command `cert list`, alarms
 * before they expire and for domains that they do not name, and a metric. */
#pragma once

struct feature;
struct node_file;
struct cert_watch;

extern const struct feature cert_watch_feature;

/* Reads the certificates of a node file. The file may be freed afterwards. */
struct cert_watch *cert_watch_create(const struct node_file *file);
/* Watches these from now on and takes ownership of them. At the home of the duty, or before workers
 * run. */
void cert_watch_use(struct cert_watch *watch);
/* Call it after the workers have ended, also if nothing is watched. */
void cert_watch_end(void);
