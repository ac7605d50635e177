/* s2s_demand: what a foreign domain must show: the settings of federation, and in their place the
 * demand (command `s2s-demand set`) and the routes of the most specific pattern that has some. On a
 * worker. */
#pragma once
#include "base/slice.h"
#include "gate/s2s/s2s_stage.h"

struct s2s_demand {
    bool tls;            /* streams must be encrypted */
    bool plain;          /* but a static route lets it do without, unless `firm` */
    bool firm;           /* a demand needs TLS, whatever routes say */
    bool verify;         /* a server that we connect to must show a right certificate */
    bool external;       /* a certificate proves the domain, and ours to it */
    bool dialback;       /* dialback proves the domain, and ours to it */
    const char *tls_min; /* "TLSv1.3"; NULL: any version that is allowed at all */
    slice pins;          /* one of these certificates, in place of those that are trusted; empty: no
                            pins. Valid until the loop goes on */
};
struct s2s_demand s2s_demand_of(slice domain);
/* What to do if a stream to that domain has failed so. Static. */
const char *s2s_demand_advice(slice domain, enum s2s_stage stage);
/* Whether a stream without TLS is of use to that domain, which has connected to us. */
bool s2s_may_be_plain(slice domain);
