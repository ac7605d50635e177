#include "base/buf.h"
#include "codec/xml_mask.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const char *xml, enum xml_mask how, const char *shown)
{
    struct buf out;
    buf_init(&out, 4096);
    xml_mask(&out, slice_of(xml), how);
    if (!slice_is(buf_slice(&out), shown))
        fail_msg("%s: %.*s", xml, SLICE_ARG(buf_slice(&out)));
    buf_fini(&out);
}

#define MESSAGE                                                                                    \
    "<message to='b@x' id=\"m1\" password='geheim'><body>secret</body><subject>two</subject>"      \
    "<password>three</password><empty/></message>"

static void texts_are_masked(void **state)
{
    (void)state;
    check(MESSAGE, XML_MASK_TEXTS,
          "<message to='b@x' id=\"m1\" password='[6]'><body>[6]</body><subject>[3]</subject>"
          "<password>[5]</password><empty/></message>");
    check(MESSAGE, XML_MASK_BUT_BODIES,
          "<message to='b@x' id=\"m1\" password='[6]'><body>secret</body><subject>two</subject>"
          "<password>[5]</password><empty/></message>");
}

static void where_a_text_could_hide(void **state)
{
    static const struct {
        const char *xml, *shown;
    } table[] = {
        { "<a><![CDATA[x<body>y</body>]]>z</a>", "<a>[28]</a>" },
        { "<a>1<![CDATA[<]]>2<![CDATA[>]]></a>", "<a>[28]</a>" },
        { "<a url='x>y' id='q>r'>t</a>", "<a url='[3]' id='q>r'>[1]</a>" },
        { "<a id = 'q' url\t=\n\"it's\"/>", "<a id = 'q' url\t=\n\"[4]\"/>" },
        { "<item jid='b@x' name='Dear Bob'/>", "<item jid='b@x' name='[8]'/>" },
        { "<body><x>in it</x>behind</body>", "<body><x>[5]</x>[6]</body>" },
        { "<a><![CDATA[never ends", "<a>[19]" },
        { "<a id='never ends", "<a id='never ends" },
        { "<a url='never ends", "<a url='[10]" },
        { "<", "<" },
        { "only text", "[9]" },
        { "", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        check(table[i].xml, XML_MASK_BUT_BODIES, table[i].shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_masked),
        cmocka_unit_test(where_a_text_could_hide),
    };
    return cmocka_run_group_tests_name("xml_mask", tests, NULL, NULL);
}
