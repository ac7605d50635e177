/* version: Software Version of the server (XEP-0092). */
#include "base/arena.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "xmpp/ns.h"
#include <sys/utsname.h>

static struct setting version_show_os = {
    .name = "version.show-os",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Whether an answer about the software version (XEP-0092) names the operating system. It "
           "tells attackers what to look for.",
};

static void version_get(struct iq *iq)
{
    struct utsname os;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_VERSION);
    xml_element(&x, "name", SLICE("Muster"));
    xml_element(&x, "version", SLICE(MUSTER_VERSION));
    if (setting_bool(&version_show_os) && uname(&os) == 0)
        xml_element(&x, "os", slice_of(arena_printf(iq->tmp, "%s %s", os.sysname, os.release)));
    iq_result_xml(iq, &x);
}

static const struct iq_rule version_rules[] = {
    { TYPE_GET, NS_VERSION, "query", IQ_TO_SERVER | IQ_TO_HOST, version_get },
    { 0 },
};

static struct setting *const version_settings[] = { &version_show_os, NULL };

const struct feature version_feature = {
    .name = "version",
    .xeps =
        (const struct xep[]){
            { "0092", "1.1", "Software Version", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = (const char *const[]){ NS_VERSION, NULL },
    .iq = version_rules,
    .settings = version_settings,
};
