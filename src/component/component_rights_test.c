#include "component/component_rights.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/xml_elem.h"

static bool suits(const struct setting *s, const char *text)
{
    struct why why;
    return setting_check(s, slice_of(text), &why) == OK;
}

static void set(struct setting *s, const char *text)
{
    struct why why;
    assert_int_equal(setting_set(s, slice_of(text), &why), OK);
}

static void privileges_that_are_allowed(void **state)
{
    const struct setting *s = &component_privileges;
    (void)state;
    assert_true(suits(s, ""));
    assert_true(suits(s, "a.test"));
    assert_true(suits(s, "a.test roster=get b.test roster=both message=outgoing iq-set=urn:x=y"));
    assert_true(suits(s, "  a.test   roster=set  "));
    assert_false(suits(s, "roster=get"));
    assert_false(suits(s, "a.test roster="));
    assert_false(suits(s, "a.test a.test"));
    assert_false(suits(s, "a.test b.test a.test"));
    assert_false(suits(s, "a.test presence=roster"));
    assert_false(suits(s, "a.test presence=roster roster=set"));
    assert_false(suits(s, "a.test presence=roster roster=get presence=managed_entity"));
    assert_true(suits(s, "a.test presence=roster roster=get"));
    assert_true(suits(s, "a.test roster=both presence=roster b.test presence=managed_entity"));
    assert_true(suits(s, "a.test presence=managed_entity push=roster roster=get"));
    assert_false(suits(s, "a.test push=roster"));
    assert_false(suits(s, "a.test push=roster roster=set"));
    assert_false(suits(s, "a.test iq=urn:x"));
    assert_false(suits(s, "a.test iq-set="));
    assert_false(suits(s, "a@a.test"));
    assert_false(suits(s, "A.test"));
}

static void privileges_of_each_component(void **state)
{
    struct component_rights r;
    slice host = SLICE("host.test");
    (void)state;
    set(&component_privileges, "a.test roster=get iq-set=urn:x=y iq-get=urn:z b.test c.test "
                               "message=outgoing");
    assert_true(component_rights(host, SLICE("a.test"), &r));
    assert_int_equal(r.roster, RIGHT_GET);
    assert_false(r.message);
    assert_true(component_may_ask(&r, SLICE("urn:x=y"), TYPE_SET));
    assert_false(component_may_ask(&r, SLICE("urn:x=y"), TYPE_GET));
    assert_false(component_may_ask(&r, SLICE("urn:x"), TYPE_SET));
    assert_true(component_may_ask(&r, SLICE("urn:z"), TYPE_GET));
    assert_true(component_rights(host, SLICE("b.test"), &r));
    assert_int_equal(r.roster, 0);
    assert_false(r.message);
    assert_false(component_may_ask(&r, SLICE("urn:z"), TYPE_GET));
    assert_true(component_rights(host, SLICE("c.test"), &r));
    assert_true(r.message);
    assert_false(component_rights(host, SLICE("test"), &r));
    assert_false(component_rights(host, SLICE("d.test"), &r));
    assert_false(r.message);
    set(&component_privileges, "a.test presence=roster roster=get b.test presence=managed_entity");
    assert_true(component_rights(host, SLICE("a.test"), &r));
    assert_true(r.presence && r.contacts);
    assert_true(component_rights(host, SLICE("b.test"), &r));
    assert_true(r.presence && !r.contacts);
    set(&component_privileges, "");
    assert_false(component_rights(host, SLICE("a.test"), &r));
}

static void delegations_that_are_allowed(void **state)
{
    const struct setting *s = &component_delegations;
    (void)state;
    assert_true(suits(s, ""));
    assert_true(suits(s, "urn:x=a.test urn:x=y=a.test vcard-temp[a,b]=b.test"));
    assert_false(suits(s, "urn:x"));
    assert_false(suits(s, "urn:x=a.test urn:x[node]=b.test"));
    assert_false(suits(s, "urn:x]=a.test"));
    assert_false(suits(s, "[a]=a.test"));
    assert_false(suits(s, "=a.test"));
    assert_false(suits(s, "urn:x="));
    assert_false(suits(s, "jabber:iq:roster=a.test"));
    assert_false(suits(s, "jabber:iq:roster[a]=a.test"));
}

static slice found(const char *xml)
{
    struct elem e;
    slice component = { 0 };
    assert_true(elem_parse(&e, slice_of(xml), SLICE("jabber:client")));
    return delegation_find(SLICE("host.test"), &e, &component) ? component : (slice){ 0 };
}

static void whom_a_request_is_for(void **state)
{
    (void)state;
    assert_int_equal(found("<q xmlns='urn:x'/>").len, 0);
    set(&component_delegations, "urn:x=a.test vcard-temp[a,b]=b.test");
    assert_true(slice_is(found("<q xmlns='urn:x'/>"), "a.test"));
    assert_true(slice_is(found("<p:q xmlns:p='urn:x'/>"), "a.test"));
    assert_int_equal(found("<q xmlns='urn:x1'/>").len, 0);
    assert_int_equal(found("<q xmlns='vcard-temp'/>").len, 0);
    assert_int_equal(found("<q xmlns='vcard-temp' a='1'/>").len, 0);
    assert_true(slice_is(found("<q xmlns='vcard-temp' b='' a='1'/>"), "b.test"));
    set(&component_delegations, "");
}

int main(void)
{
    setting_register(&component_privileges);
    setting_register(&component_delegations);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(privileges_that_are_allowed),
        cmocka_unit_test(privileges_of_each_component),
        cmocka_unit_test(delegations_that_are_allowed),
        cmocka_unit_test(whom_a_request_is_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
