/* time: Entity Time of the server (XEP-0202). */
#include "base/arena.h"
#include "base/clock.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The offset of local time from UTC at that moment, in minutes. */
static int offset_minutes(uint64_t wall_us)
{
    time_t at = (time_t)(wall_us / 1000000);
    struct tm local;
    return localtime_r(&at, &local) == NULL ? 0 : (int)(local.tm_gmtoff / 60);
}

static void time_get(struct iq *iq)
{
    char utc[CLOCK_STAMP_LEN], tzo[16];
    struct buf out;
    struct xml_write x;
    uint64_t now_us = clock_wall_us();
    int offset = offset_minutes(now_us);
    clock_stamp(utc, now_us);
    snprintf(tzo, sizeof tzo, "%c%02d:%02d", offset < 0 ? '-' : '+', abs(offset) / 60 % 100,
             abs(offset) % 60);
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "time", NS_TIME);
    xml_element(&x, "tzo", slice_of(tzo));
    xml_element(&x, "utc", slice_of(utc));
    iq_result_xml(iq, &x);
}

static const struct iq_rule time_rules[] = {
    { TYPE_GET, NS_TIME, "time", IQ_TO_SERVER | IQ_TO_SELF, time_get },
    { 0 },
};

const struct feature time_feature = {
    .name = "time",
    .xeps =
        (const struct xep[]){
            { "0202", "2.0", "Entity Time", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = (const char *const[]){ NS_TIME, NULL },
    .iq = time_rules,
};
