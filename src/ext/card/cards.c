#include "ext/card/cards.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"

/* What a property is there, and what its values become. RFC 6351 §5. */
struct vcard_name {
    const char *theirs, *ours;
};
enum vcard_shape {
    VCARD_TEXT,   /* the value is the text of the element */
    VCARD_LISTED, /* the first value has this name in the element, others the next one */
    VCARD_TYPED,  /* the same, with a place such as WORK */
    VCARD_PARTS   /* values have names of their own; with a place */
};
struct vcard_property {
    struct vcard_name name;
    enum vcard_shape shape;
    const struct vcard_name
        *parts;       /* ended by { 0 }; of VCARD_LISTED and VCARD_TYPED only `ours` */
    const char *mark; /* an empty element that the DTD wants, or NULL */
};

static const struct vcard_name vcard4_in_n[] = { { "surname", "FAMILY" },    { "given", "GIVEN" },
                                                 { "additional", "MIDDLE" }, { "prefix", "PREFIX" },
                                                 { "suffix", "SUFFIX" },     { 0 } };
static const struct vcard_name vcard4_in_adr[] = {
    { "pobox", "POBOX" },   { "ext", "EXTADD" }, { "street", "STREET" }, { "locality", "LOCALITY" },
    { "region", "REGION" }, { "code", "PCODE" }, { "country", "CTRY" },  { 0 }
};
static const struct vcard_name vcard4_in_org[] = { { "", "ORGNAME" }, { "", "ORGUNIT" }, { 0 } };
static const struct vcard_name vcard4_in_email[] = { { "", "USERID" }, { 0 } };
static const struct vcard_name vcard4_in_tel[] = { { "", "NUMBER" }, { 0 } };
static const struct vcard_property vcard4_properties[] = {
    { { "fn", "FN" }, VCARD_TEXT, NULL, NULL },
    { { "n", "N" }, VCARD_PARTS, vcard4_in_n, NULL },
    { { "nickname", "NICKNAME" }, VCARD_TEXT, NULL, NULL },
    { { "bday", "BDAY" }, VCARD_TEXT, NULL, NULL },
    { { "adr", "ADR" }, VCARD_PARTS, vcard4_in_adr, NULL },
    { { "tel", "TEL" }, VCARD_TYPED, vcard4_in_tel, NULL },
    { { "email", "EMAIL" }, VCARD_TYPED, vcard4_in_email, "INTERNET" },
    { { "title", "TITLE" }, VCARD_TEXT, NULL, NULL },
    { { "role", "ROLE" }, VCARD_TEXT, NULL, NULL },
    { { "org", "ORG" }, VCARD_LISTED, vcard4_in_org, NULL },
    { { "note", "NOTE" }, VCARD_TEXT, NULL, NULL },
    { { "url", "URL" }, VCARD_TEXT, NULL, NULL },
};

static slice vcard4_value_text(const struct elem *value, struct arena *tmp)
{
    slice text = elem_text(value, tmp), scheme = SLICE("tel:");
    return slice_starts(text, scheme) ? slice_from(text, scheme.len) : text;
}

static void vcard4_write_value(struct xml_write *x, const char *name, slice text)
{
    if (text.len == 0)
        return;
    xml_open(x, name, NULL);
    xml_text_clean(x, text);
    xml_close(x);
}

/* WORK, HOME and the like, of which the one has the names of the other in capitals. */
static void vcard4_write_place(struct xml_write *x, const struct elem *property, struct arena *tmp)
{
    static const struct vcard_name places[] = { { "home", "HOME" }, { "work", "WORK" },
                                                { "cell", "CELL" }, { "voice", "VOICE" },
                                                { "fax", "FAX" },   { "pager", "PAGER" } };
    struct elem parameters, type, e;
    if (!elem_child(property, "parameters", NS_VCARD4, &parameters) ||
        !elem_child(&parameters, "type", NS_VCARD4, &type))
        return;
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        for (bool more = elem_first(&type, &e); more; more = elem_next(&e, &e))
            if (slice_is(elem_text(&e, tmp), places[i].theirs)) {
                xml_empty(x, places[i].ours, NULL);
                break;
            }
}

static void vcard4_write_parts(struct xml_write *x, const struct vcard_property *p,
                               const struct elem *property, struct arena *tmp)
{
    struct elem value;
    const struct vcard_name *part = p->parts;
    for (bool more = elem_first(property, &value); more; more = elem_next(&value, &value)) {
        if (slice_is(value.name, "parameters"))
            continue;
        if (p->shape == VCARD_PARTS)
            for (part = p->parts; part->ours != NULL && !slice_is(value.name, part->theirs);)
                part++;
        if (part->ours == NULL)
            continue;
        vcard4_write_value(x, part->ours, vcard4_value_text(&value, tmp));
        if (p->shape == VCARD_LISTED && part[1].ours != NULL)
            part++;
        else if (p->shape == VCARD_TYPED)
            break;
    }
}

/* false: it has no value. */
static bool vcard4_write_property(struct xml_write *x, const struct vcard_property *p,
                                  const struct elem *property, struct arena *tmp)
{
    struct elem value;
    bool some = elem_first(property, &value);
    while (some && slice_is(value.name, "parameters"))
        some = elem_next(&value, &value);
    if (!some || (p->shape != VCARD_PARTS && elem_text(&value, tmp).len == 0))
        return false;
    if (p->shape == VCARD_TEXT) {
        vcard4_write_value(x, p->name.ours, elem_text(&value, tmp));
        return true;
    }
    ensure(p->parts != NULL);
    xml_open(x, p->name.ours, NULL);
    if (p->shape != VCARD_LISTED)
        vcard4_write_place(x, property, tmp);
    if (p->mark != NULL)
        xml_empty(x, p->mark, NULL);
    vcard4_write_parts(x, p, property, tmp);
    xml_close(x);
    return true;
}

/* data:image/png;base64,... or a link. */
static bool vcard4_write_photo(struct xml_write *x, const struct elem *property, struct arena *tmp)
{
    struct elem e;
    slice type, bytes;
    slice uri = elem_child(property, "uri", NS_VCARD4, &e) ? elem_text(&e, tmp) : (slice){ 0 };
    if (uri.len == 0)
        return false;
    xml_open(x, "PHOTO", NULL);
    if (slice_starts(uri, SLICE("data:")) && slice_cut(slice_from(uri, 5), ';', &type, &bytes) &&
        slice_starts(bytes, SLICE("base64,"))) {
        vcard4_write_value(x, "TYPE", type);
        vcard4_write_value(x, "BINVAL", slice_from(bytes, 7));
    } else {
        vcard4_write_value(x, "EXTVAL", uri);
    }
    xml_close(x);
    return true;
}

slice card_of_vcard4(const struct elem *card, struct arena *tmp)
{
    struct buf xml;
    struct xml_write x;
    struct elem e;
    bool some = false;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "vCard", NS_VCARD);
    for (bool more = elem_first(card, &e); more; more = elem_next(&e, &e)) {
        for (unsigned i = 0; i < sizeof vcard4_properties / sizeof vcard4_properties[0]; i++)
            if (elem_is(&e, vcard4_properties[i].name.theirs, NS_VCARD4))
                some = vcard4_write_property(&x, &vcard4_properties[i], &e, tmp) || some;
        if (elem_is(&e, "photo", NS_VCARD4))
            some = vcard4_write_photo(&x, &e, tmp) || some;
    }
    xml_close(&x);
    ensure(x.depth == 0);
    slice text = some ? slice_dup(tmp, buf_fit(&xml)) : (slice){ 0 };
    buf_fini(&xml);
    return text;
}
