#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/settings.h"
#include "xmpp/disco_info.h"
#include "xmpp/form.h"
#include "xmpp/muc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = arena_create(0);
    for (unsigned i = 0; muc_settings[i] != NULL; i++)
        setting_reset(muc_settings[i]);
    return 0;
}
static int end(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static void set(struct setting *s, const char *value)
{
    struct why why;
    assert_int_equal(setting_set(s, slice_of(value), &why), OK);
}

#define ROOM(var)     "muc#roomconfig_" var
#define F(var, value) "<field var='" var "'><value>" value "</value></field>"

static struct form parse(const char *fields)
{
    struct form f;
    struct elem x;
    const char *xml =
        arena_printf(arena,
                     "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
                     "<value>http://jabber.org/protocol/muc#roomconfig</value></field>%s</x>",
                     fields);
    assert_true(elem_parse(&x, slice_of(xml), SLICE("")));
    assert_true(form_parse(&f, &x, arena));
    return f;
}

static const char *one_field(const char *var, const char *value)
{
    return arena_printf(arena, "<field var='%s'><value>%s</value></field>", var, value);
}

static bool contains(slice text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static slice form_of(const struct room_config *c, const struct room_people *people,
                     enum room_editor by)
{
    static const struct room_people nobody;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    room_config_form(&x, c, people != NULL ? people : &nobody, SLICE("a<b@conference.x"), by);
    assert_false(out.overflow);
    slice text = slice_dup(arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}

/* Requirement 5: what a room is like when nobody changed a setting. */
static void a_new_room_is_what_the_settings_say(void **state)
{
    (void)state;
    struct room_config c;
    room_config_default(&c);
    assert_false(c.members_only || c.moderated || c.persistent || c.password || c.self_add);
    assert_false(c.member_invites || c.groupchat1 || c.strip_xhtml || c.archive_joins);
    assert_true(c.listed && c.absent_visible && c.archive);
    assert_int_equal(c.whois, WHOIS_ANYONE);
    assert_int_equal(room_users_max(&c), 50);
    assert_int_equal(room_hidden_max(&c), 1000);
    assert_int_equal(room_history(&c), 15);
    assert_int_equal(room_history_max(&c), 100);
    assert_true(room_may_pm(&c, ROLE_VISITOR));
    assert_true(room_may_subject(&c, ROLE_PARTICIPANT));
    assert_true(room_shows(&c, ROLE_VISITOR));
    assert_int_equal(room_flags(&c), 0);

    set(&muc_new_members_only, "on");
    set(&muc_new_moderated, "on");
    set(&muc_new_moderators_invite, "off");
    set(&muc_new_anonymous, "on");
    set(&muc_new_private_messages, "moderator");
    set(&muc_new_subject, "moderator");
    set(&muc_new_occupants, "7");
    set(&muc_new_history, "3");
    set(&muc_archive, "off");
    struct room_config d;
    room_config_default(&d);
    assert_true(d.members_only && d.moderated && d.member_invites);
    assert_false(d.archive);
    assert_int_equal(d.whois, WHOIS_MODERATORS);
    assert_int_equal(room_users_max(&d), 7);
    assert_int_equal(room_history(&d), 3);
    assert_int_equal(room_flags(&d), ROOM_MODERATED | ROOM_MEMBERS_ONLY);
    /* the first room is what it was */
    assert_false(c.members_only || c.moderated);
    assert_int_equal(room_users_max(&c), 50);
}

static void roles_may_from_the_lowest_upward(void **state)
{
    (void)state;
    static const bool pm[][ROOM_ROLES] = {
        [PM_ANYONE] = { false, true, true, true },
        [PM_PARTICIPANTS] = { false, false, true, true },
        [PM_MODERATORS] = { false, false, false, true },
        [PM_NOBODY] = { false, false, false, false },
    };
    struct room_config c;
    room_config_default(&c);
    for (uint8_t rule = 0; rule <= PM_NOBODY; rule++) {
        c.pm = rule;
        for (int role = 0; role < ROOM_ROLES; role++)
            assert_int_equal(room_may_pm(&c, (enum room_role)role), pm[rule][role]);
    }
    c.subject_lowest = ROLE_MODERATOR;
    assert_false(room_may_subject(&c, ROLE_PARTICIPANT));
    assert_true(room_may_subject(&c, ROLE_MODERATOR));
    c.subject_lowest = ROLE_VISITOR;
    assert_false(room_may_subject(&c, ROLE_VISITOR));
}

static void limits_of_the_service_hold_for_old_rooms(void **state)
{
    (void)state;
    struct room_config c;
    room_config_default(&c);
    c.users_max = ROOM_NO_LIMIT;
    assert_int_equal(room_users_max(&c), 1000);
    set(&muc_occupants_max, "20");
    set(&muc_hidden_max, "5");
    set(&muc_history_max, "10");
    assert_int_equal(room_users_max(&c), 20);
    assert_int_equal(room_hidden_max(&c), 5);
    assert_int_equal(room_history(&c), 10);
    assert_int_equal(room_history_max(&c), 10);
}

static void a_password_is_needed_and_never_empty(void **state)
{
    (void)state;
    struct room_config c;
    room_config_default(&c);
    assert_true(room_password_right(&c, SLICE("")));
    c.password = true;
    assert_false(room_password_right(&c, SLICE("")));
    c.text[ROOM_SECRET] = SLICE("cauldron");
    assert_true(room_password_right(&c, SLICE("cauldron")));
    assert_false(room_password_right(&c, SLICE("cauldro")));
    assert_false(room_password_right(&c, SLICE("")));
}

static void a_form_changes_what_it_names(void **state)
{
    (void)state;
    struct room_config c, before;
    struct room_people people;
    set(&muc_owner_anonymous, "on");
    set(&muc_owner_history, "on");
    room_config_default(&c);
    struct form f = parse(
        F(ROOM("roomname"), "A &lt;dark&gt; cave") F(ROOM("persistentroom"), "true") F(
            ROOM("membersonly"), "1") F(ROOM("maxusers"), "none") F(ROOM("whois"), "moderators")
            F(ROOM("allowpm"), "none") F(ROOM("changesubject"), "0") F(ROOM("lang"), "zh-Hans") F(
                ROOM("passwordprotectedroom"),
                "1") F(ROOM("roomsecret"), "pw") F("muc#maxhistoryfetch",
                                                   "40") F(ROOM("defaulthistorymessages"), "40")
                F("unknown", "whatever") "<field var='" ROOM(
                    "roomdesc") "'><value>one</value><value>two</value></field>"
                                "<field var='" ROOM(
                                    "presencebroadcast") "'><value>moderator</value></field>"
                                                         "<field "
                                                         "var='muster#roomconfig_contactjid'><"
                                                         "value>Help@x</value><value>help@x</value>"
                                                         "<value>other@x</value></field>"
                                                         "<field var='" ROOM(
                                                             "roomowners") "'><value>a@x/phone</"
                                                                           "value><value>A@x</"
                                                                           "value></field>"
                                                                           "<field var='" ROOM(
                                                                               "roomadmins") "'/>");
    before = c;
    assert_true(room_config_read(&c, &people, &f, EDITOR_OWNER));
    assert_true(slice_is(c.text[ROOM_NAME], "A <dark> cave"));
    assert_true(slice_is(c.text[ROOM_DESCRIPTION], "one\ntwo"));
    assert_true(slice_is(c.text[ROOM_CONTACTS], "help@x\tother@x\t"));
    assert_true(c.persistent && c.members_only && c.password && c.listed);
    assert_int_equal(c.users_max, ROOM_NO_LIMIT);
    assert_int_equal(c.pm, PM_NOBODY);
    assert_int_equal(c.subject_lowest, ROLE_MODERATOR);
    assert_int_equal(c.presence_roles, ROLE_BIT(ROLE_MODERATOR));
    assert_int_equal(c.history, 40);
    assert_true(people.has_owners && people.has_admins);
    assert_int_equal(people.owner_count, 1);
    assert_true(slice_is(people.owner[0], "a@x"));
    assert_int_equal(people.admin_count, 0);
    assert_int_equal(room_config_diff(&before, &c), DIFF_LOGGING | DIFF_WHOIS | DIFF_MEMBERS_ONLY |
                                                        DIFF_PERSISTENT | DIFF_PRESENCE_ROLES |
                                                        DIFF_OTHER);
}

static void wrong_values_change_nothing(void **state)
{
    static const char *const wrong[] = {
        F(ROOM("persistentroom"), "perhaps"),
        F(ROOM("persistentroom"), ""),
        F(ROOM("membersonly"), "2"),
        F(ROOM("maxusers"), "0"),
        F(ROOM("maxusers"), "1001"),
        F(ROOM("maxusers"), "-1"),
        F(ROOM("maxusers"), "many"),
        F(ROOM("allowpm"), "visitors"),
        F(ROOM("presencebroadcast"), "outsider"),
        F(ROOM("lang"), "d\xc3\xa4"),
        F(ROOM("lang"), "en--gb"),
        F(ROOM("lang"), "en-"),
        F(ROOM("lang"), "abcdefghi"),
        F(ROOM("pubsub"), "http://x"),
        F(ROOM("roomname"), "two\nlines"),
        F(ROOM("roomowners"), "@x"),
        F(ROOM("roomadmins"), ""),
        F(ROOM("roomadmins"), "x"),
        F("muster#roomconfig_contactjid", "a@b@c"),
        F(ROOM("passwordprotectedroom"), "1"),
        F(ROOM("passwordprotectedroom"), "1") F(ROOM("roomsecret"), ""),
        "<field var='" ROOM("membersonly") "'><value>1</value><value>0</value></field>",
    };
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct room_config c, before;
        struct room_people people = { .owner_count = 77 };
        struct form f = parse(arena_printf(arena, F(ROOM("moderatedroom"), "1") "%s", wrong[i]));
        room_config_default(&c);
        before = c;
        if (room_config_read(&c, &people, &f, EDITOR_OWNER))
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(f.error, SE_NOT_ACCEPTABLE);
        assert_true(contains(f.text, "'m")); /* names the field */
        assert_int_equal(room_config_diff(&before, &c), 0);
        assert_int_equal(people.owner_count, 77);
    }
}

static void long_texts_and_lists_are_refused(void **state)
{
    (void)state;
    static const char *const vars[] = { ROOM("roomname"), ROOM("roomdesc"), ROOM("roomsecret"),
                                        ROOM("pubsub") };
    char text[ROOM_TEXT_MAX + 2];
    struct room_config c;
    struct room_people people;
    memset(text, 'x', sizeof text);
    memcpy(text, "xmpp:", 5);
    for (unsigned i = 0; i < 4; i++) {
        room_config_default(&c);
        text[ROOM_TEXT_MAX] = '\0';
        struct form fits = parse(one_field(vars[i], text));
        assert_true(room_config_read(&c, &people, &fits, EDITOR_OWNER));
        text[ROOM_TEXT_MAX] = 'x';
        text[ROOM_TEXT_MAX + 1] = '\0';
        struct form over = parse(one_field(vars[i], text));
        assert_false(room_config_read(&c, &people, &over, EDITOR_OWNER));
    }
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_lit(&b, "<field var='muster#roomconfig_contactjid'>");
    for (unsigned i = 0; i <= ROOM_CONTACTS_MAX; i++)
        buf_printf(&b, "<value>a%u@x</value>", i);
    buf_lit(&b, "</field>");
    struct form f = parse(slice_cstr(arena, buf_slice(&b)));
    buf_fini(&b);
    assert_false(room_config_read(&c, &people, &f, EDITOR_OWNER));
}

static void other_forms_are_bad_requests(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "<x xmlns='jabber:x:data' type='submit'><field var='a'><value>b</value></field></x>",
        "<x xmlns='jabber:x:data' type='form'/>",
        "<x xmlns='jabber:x:data' type='submit'>" F("FORM_TYPE", "muc#register") "</x>",
    };
    for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct room_config c;
        struct room_people people;
        struct form f;
        struct elem x;
        room_config_default(&c);
        assert_true(elem_parse(&x, slice_of(forms[i]), SLICE("")));
        assert_true(form_parse(&f, &x, arena));
        assert_false(room_config_read(&c, &people, &f, EDITOR_OWNER));
        assert_int_equal(f.error, SE_BAD_REQUEST);
    }
}

static void an_empty_form_is_an_instant_room(void **state)
{
    (void)state;
    struct room_config c, before;
    struct room_people people = { .has_owners = true };
    struct form f;
    struct elem x;
    room_config_default(&c);
    before = c;
    assert_true(elem_parse(&x, SLICE("<x xmlns='jabber:x:data' type='submit'/>"), SLICE("")));
    assert_true(form_parse(&f, &x, arena));
    assert_true(room_config_read(&c, &people, &f, EDITOR_OWNER));
    assert_int_equal(room_config_diff(&before, &c), 0);
    assert_false(people.has_owners);
}

static void the_last_owner_stays(void **state)
{
    (void)state;
    struct room_config c;
    struct room_people people;
    struct form f = parse("<field var='" ROOM("roomowners") "'/>");
    room_config_default(&c);
    assert_false(room_config_read(&c, &people, &f, EDITOR_OWNER));
    assert_int_equal(f.error, SE_CONFLICT);
}

/* Requirement 13, for every switch. */
static void owners_change_what_settings_leave_to_them(void **state)
{
    static const struct {
        struct setting *may;
        const char *var, *other;
    } row[] = {
        { &muc_persistent, ROOM("persistentroom"), "1" },
        { &muc_owner_members_only, ROOM("membersonly"), "1" },
        { &muc_owner_moderators_invite, ROOM("allowinvites"), "1" },
        { &muc_owner_self_add, "x-muc#roomconfig_registration", "1" },
        { &muc_owner_absent_visible, "muster#roomconfig_showabsent", "0" },
        { &muc_owner_groupchat1, "muster#roomconfig_groupchat1", "1" },
        { &muc_owner_anonymous, ROOM("whois"), "moderators" },
        { &muc_owner_moderated, ROOM("moderatedroom"), "1" },
        { &muc_owner_occupants, ROOM("maxusers"), "10" },
        { &muc_owner_private_messages, ROOM("allowpm"), "moderators" },
        { &muc_owner_subject, ROOM("changesubject"), "0" },
        { &muc_owner_strip_xhtml, "muster#roomconfig_stripxhtml", "1" },
        { &muc_owner_history, ROOM("defaulthistorymessages"), "5" },
        { &muc_owner_history, "muc#maxhistoryfetch", "50" },
        { &muc_owner_archive, ROOM("enablearchiving"), "0" },
        { &muc_owner_archive, "muster#roomconfig_archivejoins", "1" },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct room_config c, before;
        struct room_people people;
        const char *var = arena_printf(arena, "var='%s'", row[i].var);
        const char *field =
            arena_printf(arena, "<field %s><value>%s</value></field>", var, row[i].other);
        struct form f = parse(field), again = parse(field), admin = parse(field);
        room_config_default(&c);
        before = c;
        set(row[i].may, "off");
        assert_false(contains(form_of(&c, NULL, EDITOR_OWNER), var));
        assert_true(contains(form_of(&c, NULL, EDITOR_ADMIN), var));
        assert_false(room_config_read(&c, &people, &f, EDITOR_OWNER));
        assert_int_equal(f.error, SE_NOT_ACCEPTABLE);
        assert_true(contains(f.text, row[i].var));
        assert_int_equal(room_config_diff(&before, &c), 0);
        assert_true(room_config_read(&c, &people, &admin, EDITOR_ADMIN));
        assert_true(room_config_diff(&before, &c) != 0);
        /* the same value again is no change */
        struct form same = parse(field);
        assert_true(room_config_read(&c, &people, &same, EDITOR_OWNER));
        set(row[i].may, "on");
        c = before;
        assert_true(contains(form_of(&c, NULL, EDITOR_OWNER), var));
        assert_true(room_config_read(&c, &people, &again, EDITOR_OWNER));
        assert_true(room_config_diff(&before, &c) != 0);
    }
}

static void hidden_users_are_the_administrators_business(void **state)
{
    (void)state;
    struct room_config c;
    struct room_people people;
    struct form f = parse(F("muster#roomconfig_maxhidden", "3")),
                g = parse(F("muster#roomconfig_maxhidden", "3"));
    room_config_default(&c);
    assert_false(contains(form_of(&c, NULL, EDITOR_OWNER), "maxhidden"));
    assert_false(room_config_read(&c, &people, &f, EDITOR_OWNER));
    assert_true(room_config_read(&c, &people, &g, EDITOR_ADMIN));
    assert_int_equal(c.hidden_max, 3);
}

/* Requirement 7. */
static void history_stays_within_its_maximum(void **state)
{
    (void)state;
    struct room_config c;
    struct room_people people;
    struct why why;
    set(&muc_owner_history, "on");
    room_config_default(&c);
    struct form over = parse(F("muc#maxhistoryfetch", "101")),
                pair = parse(F("muc#maxhistoryfetch", "10")),
                both = parse(F("muc#maxhistoryfetch", "10") F(ROOM("defaulthistorymessages"), "9"));
    assert_false(room_config_read(&c, &people, &over, EDITOR_OWNER));
    assert_false(room_config_read(&c, &people, &pair, EDITOR_OWNER));
    assert_true(room_config_read(&c, &people, &both, EDITOR_OWNER));
    assert_int_equal(room_history(&c), 9);

    struct setting_change high = { &muc_new_history, SLICE("101") },
                          low = { &muc_history_max, SLICE("14") };
    assert_int_equal(setting_agree(&high, 1, &why), E_CONFLICT);
    assert_string_equal(why.text, "muc.new-history: found 101, allowed at most muc.history-max, "
                                  "which is 100");
    assert_int_equal(setting_agree(&low, 1, &why), E_CONFLICT);
    assert_string_equal(why.text, "muc.history-max: found 14, allowed at least muc.new-history, "
                                  "which is 15");
    struct setting_change crowd = { &muc_new_occupants, SLICE("1001") };
    assert_int_equal(setting_agree(&crowd, 1, &why), E_CONFLICT);
}

static void the_form_can_be_submitted_as_it_is(void **state)
{
    (void)state;
    static const slice owners[] = { SLICE_INIT("a@x"), SLICE_INIT("b@x") };
    struct room_people people = { .has_owners = true, .owner = owners, .owner_count = 2 }, read;
    struct room_config c, before;
    struct elem x;
    struct form f;
    room_config_default(&c);
    c.users_max = 77;
    c.text[ROOM_NAME] = SLICE("<&'");
    c.text[ROOM_DESCRIPTION] = SLICE("one\ntwo");
    c.text[ROOM_CONTACTS] = SLICE("a@x\tb@x\t");
    before = c;
    slice text = form_of(&c, &people, EDITOR_ADMIN);
    assert_true(contains(text, "<option><value>50</value></option><option><value>77</value>"
                               "</option><option><value>100</value>"));
    assert_true(contains(text, "<option><value>1000</value></option><option label='As many"));
    assert_false(contains(text, "<value>2000</value>"));
    assert_true(elem_parse(&x, text, SLICE("")));
    assert_true(form_parse(&f, &x, arena));
    f.kind = FORM_SUBMIT;
    assert_true(room_config_read(&c, &read, &f, EDITOR_ADMIN));
    assert_int_equal(room_config_diff(&before, &c), 0);
    assert_int_equal(read.owner_count, 2);
    assert_false(read.has_admins);
}

static void stored_text_comes_back(void **state)
{
    (void)state;
    struct room_config c, again, kept;
    struct buf out;
    set(&muc_owner_anonymous, "on");
    room_config_default(&c);
    c.persistent = c.members_only = c.password = c.self_add = c.archive_joins = true;
    c.listed = c.archive = false;
    c.whois = WHOIS_MODERATORS;
    c.pm = PM_NOBODY;
    c.subject_lowest = ROLE_MODERATOR;
    c.presence_roles = 0;
    c.list_roles = ROLE_BIT(ROLE_VISITOR);
    c.users_max = ROOM_NO_LIMIT;
    c.history = 0;
    c.text[ROOM_NAME] = SLICE("a=b\\n");
    c.text[ROOM_DESCRIPTION] = SLICE("one\n\\two\n");
    c.text[ROOM_CONTACTS] = SLICE("a@x\tb@x\t");
    buf_init(&out, ROOM_STORED_MAX);
    room_config_store(&out, &c);
    /* settings shape new rooms, not those that are stored */
    set(&muc_new_moderated, "on");
    set(&muc_new_history, "99");
    room_config_load(&again, buf_slice(&out), arena);
    assert_int_equal(room_config_diff(&c, &again), 0);
    room_config_keep(&kept, &again);
    assert_int_equal(room_config_diff(&c, &kept), 0);
    room_config_fini(&kept);
    buf_fini(&out);
}

static void damaged_text_leaves_defaults(void **state)
{
    (void)state;
    struct room_config c, def;
    room_config_default(&def);
    room_config_load(&c,
                     SLICE("\n=\nname\nname=\xff\npm=9\nwhois=\nsubject_lowest=visitor\n"
                           "users_max=-4\nhistory=99999999999\npersistent=yes\nlanguage=a\x01\n"
                           "contacts=a@x\nmembers_only=1"),
                     arena);
    assert_int_equal(room_config_diff(&def, &c), 0); /* the last line is cut off */
    room_config_load(&c, SLICE("name=two\\nlines\ndescription=two\\nlines\nlanguage=no such\n"),
                     arena);
    assert_int_equal(c.text[ROOM_NAME].len, 0);
    assert_int_equal(c.text[ROOM_LANGUAGE].len, 0);
    assert_true(slice_is(c.text[ROOM_DESCRIPTION], "two\nlines"));
    room_config_load(&c, SLICE("members_only=1\npm=none\n"), arena);
    assert_true(c.members_only);
    assert_int_equal(c.pm, PM_NOBODY);
}

static void codes_tell_what_changed(void **state)
{
    (void)state;
    struct room_config c;
    unsigned code[ROOM_CODES_MAX];
    room_config_default(&c);
    c.persistent = true;
    assert_int_equal(room_diff_codes(0, &c, code), 0);
    assert_int_equal(room_diff_codes(DIFF_LOGGING, &c, code), 1);
    assert_int_equal(code[0], 170);
    assert_int_equal(room_diff_codes(DIFF_LOGGING | DIFF_ARCHIVE, &c, code), 1);
    assert_int_equal(room_diff_codes(DIFF_ARCHIVE, &c, code), 1);
    assert_int_equal(code[0], 104);
    c.archive = false;
    assert_int_equal(
        room_diff_codes(DIFF_LOGGING | DIFF_WHOIS | DIFF_ABSENT_VISIBLE | DIFF_OTHER, &c, code), 4);
    assert_int_equal(code[0], 102);
    assert_int_equal(code[1], 171);
    assert_int_equal(code[2], 172);
    assert_int_equal(code[3], 104);
    c.whois = WHOIS_MODERATORS;
    c.absent_visible = false;
    assert_int_equal(room_diff_codes(DIFF_WHOIS | DIFF_ABSENT_VISIBLE, &c, code), 2);
    assert_int_equal(code[0], 103);
    assert_int_equal(code[1], 173);
    assert_int_equal(room_diff_codes(DIFF_MEMBERS_ONLY, &c, code), 1);
    assert_int_equal(code[0], 104);
}

static void disco_tells_what_the_room_is(void **state)
{
    (void)state;
    static const slice owner = SLICE_INIT("boss@x");
    struct room_facts facts = {
        .subject = SLICE("today"), .occupants = 3, .owner = &owner, .owner_count = 1
    };
    struct room_config c;
    struct buf out;
    struct disco_info *d = arena_new(arena, struct disco_info, 1);
    room_config_default(&c);
    c.text[ROOM_DESCRIPTION] = SLICE("of <witches>");
    room_config_disco(d, &c, &facts, arena);
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    disco_write_info(&x, d, SLICE(""));
    static const char *const open[] = {
        "muc_public'",      "muc_open'",      "muc_unmoderated'",  "muc_nonanonymous'",
        "muc_unsecured'",   "muc_temporary'", "of &lt;witches",    "<value>today</value>",
        "<value>3</value>", "boss@x",         "#roominfo</value>", "roominfo_subjectmod",
    };
    for (unsigned i = 0; i < sizeof open / sizeof open[0]; i++)
        assert_true(contains(buf_slice(&out), open[i]));

    c.listed = false;
    c.members_only = c.moderated = c.password = c.persistent = true;
    c.text[ROOM_SECRET] = SLICE("cauldron");
    c.whois = WHOIS_MODERATORS;
    *d = (struct disco_info){ 0 };
    room_config_disco(d, &c, &facts, arena);
    buf_clear(&out);
    disco_write_info(&x, d, SLICE(""));
    static const char *const closed[] = {
        "muc_hidden'",        "muc_membersonly'",       "muc_moderated'",
        "muc_semianonymous'", "muc_passwordprotected'", "muc_persistent'",
    };
    for (unsigned i = 0; i < sizeof closed / sizeof closed[0]; i++)
        assert_true(contains(buf_slice(&out), closed[i]));
    assert_false(contains(buf_slice(&out), "boss@x")); /* nobody sees addresses there */
    assert_false(contains(buf_slice(&out), "cauldron"));
    buf_fini(&out);
}

int main(void)
{
    for (unsigned i = 0; muc_settings[i] != NULL; i++)
        setting_register(muc_settings[i]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_new_room_is_what_the_settings_say),
        TEST(roles_may_from_the_lowest_upward),
        TEST(limits_of_the_service_hold_for_old_rooms),
        TEST(a_password_is_needed_and_never_empty),
        TEST(a_form_changes_what_it_names),
        TEST(wrong_values_change_nothing),
        TEST(long_texts_and_lists_are_refused),
        TEST(other_forms_are_bad_requests),
        TEST(an_empty_form_is_an_instant_room),
        TEST(the_last_owner_stays),
        TEST(owners_change_what_settings_leave_to_them),
        TEST(hidden_users_are_the_administrators_business),
        TEST(history_stays_within_its_maximum),
        TEST(the_form_can_be_submitted_as_it_is),
        TEST(stored_text_comes_back),
        TEST(damaged_text_leaves_defaults),
        TEST(codes_tell_what_changed),
        TEST(disco_tells_what_the_room_is),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
