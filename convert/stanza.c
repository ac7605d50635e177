#include "convert/stanza.h"
#include "base/clock.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include <string.h>

bool is_xml_name(slice name)
{
    static const char not_in_names[] = " \t\r\n<>&'\"/=\x01";
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '\0' || strchr(not_in_names, name.ptr[i]) != NULL)
            return false;
    return name.len > 0;
}

bool is_added(slice name, slice ns)
{
    return (slice_is(name, "stanza-id") && slice_is(ns, NS_SID)) ||
           (slice_is(name, "occupant-id") && slice_is(ns, "urn:xmpp:occupant-id:0")) ||
           (slice_is(name, "archived") && slice_is(ns, "urn:xmpp:mam:tmp"));
}

void write_delay(struct xml_write *x, uint64_t at_us, slice from)
{
    char stamp[CLOCK_STAMP_LEN];
    if (at_us == 0)
        return;
    clock_stamp(stamp, at_us);
    xml_open(x, "delay", NS_DELAY);
    xml_attr_some(x, "from", from);
    xml_attr(x, "stamp", slice_of(stamp));
    xml_close(x);
}
