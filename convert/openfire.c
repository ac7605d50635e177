#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/pie.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "convert/convert.h"
#include "convert/output.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Values of substatus and recvstatus, as its RosterItem has them; -1: none. */
enum { SUB_NONE, SUB_TO, SUB_FROM, SUB_BOTH, ASK_SUBSCRIBE = 0, RECV_SUBSCRIBE = 1 };

struct openfire {
    struct output *output;
    struct arena *tmp; /* of a user */
    slice who;
};

/* Child elements that are none of these are lost. */
static void lost_children(const struct openfire *o, const struct elem *e, const char *of,
                          const char *const *known)
{
    struct elem child;
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child)) {
        const char *const *name = known;
        while (*name != NULL && !elem_is(&child, *name, NS_PIE))
            name++;
        if (*name == NULL)
            output_lost(o->output, o->who, 1, "elements <%.*s/> of a <%s/>", SLICE_ARG(child.name),
                        of);
    }
}

static slice child_text(const struct elem *e, const char *name, struct arena *tmp)
{
    struct elem child;
    return elem_child(e, name, NS_PIE, &child) ? elem_text(&child, tmp) : (slice){ 0 };
}

/* false: it is no number. */
static bool openfire_status(const struct elem *item, const char *name, int64_t *out,
                            struct arena *tmp)
{
    return slice_int(elem_attr(item, name, tmp), out);
}

static void write_item(const struct openfire *o, struct xml_write *x, const struct elem *item)
{
    static const char *const read[] = { "Group", NULL };
    static const char *const subscriptions[] = { "none", "to", "from", "both" };
    struct elem group;
    struct arena *tmp = o->tmp;
    int64_t status = SUB_NONE, ask = -1, asked = -1;
    lost_children(o, item, "Item", read);
    if (openfire_status(item, "substatus", &status, tmp) &&
        (status < SUB_NONE || status > SUB_BOTH)) {
        output_lost(o->output, o->who, 1, "contacts that are being removed");
        return;
    }
    (void)openfire_status(item, "askstatus", &ask, tmp);
    (void)openfire_status(item, "recvstatus", &asked, tmp);
    if (status == SUB_NONE && ask != ASK_SUBSCRIBE && asked == RECV_SUBSCRIBE)
        return; /* only a request, which is no contact: openfire_requests() */
    xml_open_with(x, "item", NULL, "jid", elem_attr(item, "jid", tmp));
    xml_attr_some(x, "name", elem_attr(item, "name", tmp));
    xml_attr(x, "subscription", slice_of(subscriptions[status]));
    if (ask == ASK_SUBSCRIBE)
        xml_attr(x, "ask", SLICE("subscribe"));
    for (bool more = elem_first(item, &group); more; more = elem_next(&group, &group))
        if (elem_is(&group, "Group", NS_PIE))
            xml_element_some(x, "group", elem_text(&group, tmp));
    xml_close(x);
}

static void openfire_requests(struct xml_write *x, const struct elem *roster, struct arena *tmp)
{
    struct elem item;
    int64_t status;
    for (bool more = elem_first(roster, &item); more; more = elem_next(&item, &item)) {
        if (!elem_is(&item, "Item", NS_PIE) ||
            !openfire_status(&item, "recvstatus", &status, tmp) || status != RECV_SUBSCRIBE)
            continue;
        xml_open_with(x, "presence", NS_CLIENT, "from", elem_attr(&item, "jid", tmp));
        xml_attr(x, "type", SLICE("subscribe"));
        xml_close(x);
    }
}

static void openfire_roster(const struct openfire *o, struct xml_write *x, const struct elem *user)
{
    static const char *const read[] = { "Item", NULL };
    struct elem roster, item;
    if (!elem_child(user, "Roster", NS_PIE, &roster))
        return;
    lost_children(o, &roster, "Roster", read);
    xml_open(x, "query", NS_ROSTER);
    for (bool more = elem_first(&roster, &item); more; more = elem_next(&item, &item))
        if (elem_is(&item, "Item", NS_PIE))
            write_item(o, x, &item);
    xml_close(x);
    openfire_requests(x, &roster, o->tmp);
}

/* It has a name and an address for mail beside the vCard, which is not in the file. */
static void write_card(struct xml_write *x, slice name, slice mail)
{
    if (name.len == 0 && mail.len == 0)
        return;
    xml_open(x, "vCard", NS_VCARD);
    xml_element_some(x, "FN", name);
    if (mail.len > 0) {
        xml_open(x, "EMAIL", NULL);
        xml_empty(x, "INTERNET", NULL);
        xml_element(x, "USERID", mail);
        xml_close(x);
    }
    xml_close(x);
}

static void write_user(struct openfire *o, const struct elem *user, slice host)
{
    static const char *const read[] = { "Username", "Password", "Email", "Name", "Roster", NULL };
    struct buf out;
    struct xml_write x;
    slice name = child_text(user, "Username", o->tmp);
    slice password = child_text(user, "Password", o->tmp);
    bool unknown = password.len > 0 && slice_eq(password, name);
    o->who = name;
    lost_children(o, user, "User", read);
    xml_begin(&x, &out, PIE_ELEMENT_MAX);
    xml_open_with(&x, "user", NULL, "name", name);
    xml_attr_some(&x, "password", unknown ? (slice){ 0 } : password);
    if (unknown) {
        xml_open(&x, "lost", NS_PIE_MORE);
        xml_text(&x, SLICE("a password that is the name of the user, which the plugin writes for "
                           "passwords that it cannot read"));
        xml_close(&x);
    }
    openfire_roster(o, &x, user);
    write_card(&x, child_text(user, "Name", o->tmp), child_text(user, "Email", o->tmp));
    xml_close(&x);
    if (out.overflow)
        output_refused(o->output, host, name, "it has more than 128 MiB");
    else
        output_user(o->output, host, buf_slice(&out));
    buf_fini(&out);
}

static void take_user(struct openfire *o, struct xml_work *xml, slice text, slice host)
{
    static const struct xml_limits limits = { .unit_bytes = PIE_ELEMENT_MAX,
                                              .depth = PIE_DEPTH_MAX,
                                              .attrs = 64,
                                              .name_bytes = 1024,
                                              .many_children = true };
    struct elem e;
    if (xml_read_element(xml, text, SLICE(NS_PIE), &limits) == OK &&
        elem_parse(&e, text, SLICE(NS_PIE)))
        write_user(o, &e, host);
    else
        output_refused(o->output, host, SLICE(""),
                       "it is no well-formed XML as XMPP has it (RFC 6120 §11)");
}

enum err openfire_read(struct output *out, slice text, slice host, struct why *why)
{
    struct openfire o = { .output = out, .tmp = arena_create(0) };
    struct xml_work *xml = xml_work_create();
    struct pie p;
    size_t used, at = 0;
    enum pie_unit found;
    pie_init(&p, NULL);
    p.openfire = true;
    do {
        slice unit;
        found = pie_next(&p, slice_from(text, at), true, &used, &unit);
        at += used;
        if (found == PIE_USER)
            take_user(&o, xml, unit, host);
        else if (found == PIE_OTHER || found == PIE_INCLUDE)
            output_lost(out, (slice){ 0 }, 1, "elements <%.*s/> outside of users", SLICE_ARG(unit));
        output_progress(out, at, text.len);
        arena_reset(o.tmp);
    } while (found != PIE_END && found != PIE_ERROR);
    unsigned long long line = 1;
    for (size_t i = 0; i < at; i++)
        line += text.ptr[i] == '\n';
    if (found == PIE_ERROR)
        why_set(why, "line %llu: %s", line, p.why.text);
    xml_work_destroy(&xml);
    arena_destroy(&o.tmp);
    return found == PIE_END ? OK : E_SYNTAX;
}

/* Its plugin can write XEP-0227 as well. */
static bool is_xep0227(slice text)
{
    slice head = { text.ptr, text.len < PIE_TAG_MAX ? text.len : PIE_TAG_MAX };
    return memmem(head.ptr, head.len, "<server-data", 12) != NULL ||
           memmem(head.ptr, head.len, "<host", 5) != NULL;
}

static enum err openfire_text(struct output *o, const char *path, slice text, slice host,
                              struct why *why)
{
    struct why of_text;
    if (is_xep0227(text)) {
        why_set(why, "%s: found XEP-0227", path);
        return E_UNSUPPORTED;
    }
    enum err e = openfire_read(o, text, host, &of_text);
    if (e != OK)
        why_set(why, "%s: %s", path, of_text.text);
    return e;
}

enum err openfire_convert(struct output *o, const char *path, const char *option, struct why *why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool fine = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t len = fine ? (size_t)st.st_size : 0;
    void *at = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    enum err e = E_IO;
    if (fd >= 0)
        close(fd);
    if (!fine || at == MAP_FAILED)
        why_set(why, "%s: %s", path, fd >= 0 && !fine ? "found what is no file" : strerror(errno));
    else
        e = openfire_text(o, path, (slice){ at == NULL ? "" : at, len }, slice_of(option), why);
    if (at != NULL && at != MAP_FAILED)
        munmap(at, len);
    return e;
}
