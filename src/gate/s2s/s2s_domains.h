/* s2s_domains: what this process counts for each foreign domain, for metrics, `s2s show` and the
 * alarm about partners that fail for long. Any thread.
 *
 * Limits: s2s.metrics-domains; the others are counted together as "other". A domain is forgotten an
 * hour after the last that was counted for it. */
#pragma once
#include "base/metric.h"
#include "base/slice.h"
#include "gate/s2s/s2s_stage.h"
#include <stdbool.h>
#include <stdint.h>

struct alarm;
struct metric;
struct s2s_worker;
struct setting;
struct worker;

enum { S2S_DOMAINS_MAX = 1000, S2S_DOMAIN_BYTES = 256, S2S_DOMAIN_WHY = 200 };

void s2s_domain_stanza(slice domain, bool sent);
void s2s_domain_up(slice domain); /* a stream of ours has come up */
/* An attempt of a domain of ours has failed, and no rule keeps the two apart. missing: there is no
 * such domain, which is no fault of a partner. */
void s2s_domain_failed(slice domain, slice local, slice why, bool missing);

/* What it sends is read so much later, for federation.stanza-rate: more than 0. How much that was
 * since operators were last told of it, if they are to be told now, once a minute; else 0. */
uint64_t s2s_domain_held(slice domain, uint64_t ms);

struct s2s_domain_counts {
    uint64_t sent, received, failures, up;
    uint64_t held_ms;    /* of s2s_domain_held() */
    uint64_t failing_us; /* wall clock: since when it fails; 0: it does not */
};
bool s2s_domain_counts(slice domain, struct s2s_domain_counts *out); /* false: nothing is known */
extern const struct metric_family s2s_domain_families[];             /* ended by { 0 } */

/* The watch over domains that fail, and a count of what waits in the database: on the first worker
 * of the node. */
void s2s_domains_start(struct s2s_worker *sw, struct worker *w);
void s2s_domains_stop(struct s2s_worker *sw);

extern struct metric s2s_stored;
extern struct alarm s2s_failing_alarm;
extern struct setting s2s_metrics_domains, s2s_alarm_after;
