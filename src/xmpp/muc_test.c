#include "xmpp/muc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

/* The tables of XEP-0045 §5 and what §8 to §10 say about single changes, one letter a cell. Columns
 * of affiliations stand in the order outcast, none, member, admin, owner; those of roles: none,
 * visitor, participant, moderator. */

static const char *const affiliation_text[] = { "outcast", "none", "member", "admin", "owner" };
static const char *const role_text[] = { "none", "visitor", "participant", "moderator" };

/* Privileges Associated With Roles, §5.1.1 */
static const struct {
    const char *what;
    enum role_act act;
    const char *yes;
} role_privileges[] = {
    { "Present in Room", ACT_PRESENT, "nyyy" },
    { "Send Messages to All", ACT_SPEAK, "nnyy" },
    { "Kick Participants and Visitors", ACT_KICK, "nnny" },
    { "Grant Voice", ACT_GRANT_VOICE, "nnny" },
};

/* Privileges Associated With Affiliations, §5.2.1; "N/A" is n */
static const struct {
    const char *what;
    enum affiliation_act act;
    const char *yes;
} affiliation_privileges[] = {
    { "Enter Open Room", ACT_ENTER, "nyyyy" },
    { "Register with Open Room", ACT_REGISTER, "nynnn" },
    { "Retrieve Member List", ACT_MEMBER_LIST, "nnyyy" },
    { "Enter Members-Only Room", ACT_ENTER_MEMBERS, "nnyyy" },
    { "Ban Members and Unaffiliated Users", ACT_BAN, "nnnyy" },
    { "Edit Member List", ACT_EDIT_MEMBERS, "nnnyy" },
    { "Edit Moderator List", ACT_EDIT_MODERATORS, "nnnyy" },
    { "Edit Admin List", ACT_EDIT_ADMINS, "nnnny" },
    { "Edit Owner List", ACT_EDIT_OWNERS, "nnnny" },
    { "Change Room Configuration", ACT_CONFIGURE, "nnnny" },
    { "Destroy Room", ACT_DESTROY, "nnnny" },
};

/* Initial Role Based on Affiliation, §5.1.2: - may not enter, Visitor, Participant, Moderator */
static const struct {
    const char *what;
    unsigned room;
    const char *role;
} entering[] = {
    { "unmoderated, open", 0, "-PPMM" },
    { "moderated", ROOM_MODERATED, "-VPMM" },
    { "members-only", ROOM_MEMBERS_ONLY, "--PMM" },
    { "moderated and members-only", ROOM_MODERATED | ROOM_MEMBERS_ONLY, "--PMM" },
};

static void role_privileges_hold(void **state)
{
    (void)state;
    assert_int_equal(sizeof role_privileges / sizeof role_privileges[0], ROLE_ACTS);
    for (unsigned i = 0; i < ROLE_ACTS; i++)
        for (unsigned r = 0; r < ROOM_ROLES; r++)
            if (role_may((enum room_role)r, role_privileges[i].act) !=
                (role_privileges[i].yes[r] == 'y'))
                fail_msg("%s: %s", role_privileges[i].what, role_text[r]);
}

static void affiliation_privileges_hold(void **state)
{
    (void)state;
    assert_int_equal(sizeof affiliation_privileges / sizeof affiliation_privileges[0],
                     AFFILIATION_ACTS);
    for (unsigned i = 0; i < AFFILIATION_ACTS; i++)
        for (unsigned a = 0; a < AFFILIATIONS; a++)
            if (affiliation_may((enum affiliation)a, affiliation_privileges[i].act) !=
                (affiliation_privileges[i].yes[a] == 'y'))
                fail_msg("%s: %s", affiliation_privileges[i].what, affiliation_text[a]);
}

static void roles_of_those_who_enter(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof entering / sizeof entering[0]; i++)
        for (unsigned a = 0; a < AFFILIATIONS; a++) {
            char role = "-VPM"[affiliation_role((enum affiliation)a, entering[i].room)];
            if (role != entering[i].role[a])
                fail_msg("%s: %s enters as %c", entering[i].what, affiliation_text[a], role);
        }
}

/* y: may; F: forbidden, not for one of this standing; A: not-allowed, not against that one. */
static char letter(enum stanza_error refusal)
{
    return refusal == SE_NONE          ? 'y'
           : refusal == SE_FORBIDDEN   ? 'F'
           : refusal == SE_NOT_ALLOWED ? 'A'
                                       : '?';
}

/* The Role State Chart, §5.1.3, with what holds for each pair of affiliations: a row for each
 * affiliation of a moderator who asks, a column for that of the occupant whose role it is. Of an
 * asker who is no moderator the next five rows tell. */
struct role_change {
    const char *what;
    enum room_role from, to;
    const char *moderator[AFFILIATIONS], *other[AFFILIATIONS];
};

#define NOBODY_MAY                                                                                 \
    {                                                                                              \
        "FFFFF", "FFFFF", "FFFFF", "FFFFF", "FFFFF"                                                \
    }
#define ALL_MAY                                                                                    \
    {                                                                                              \
        "yyyyy", "yyyyy", "yyyyy", "yyyyy", "yyyyy"                                                \
    }
#define ADMINS_MAY                                                                                 \
    {                                                                                              \
        "FFFFF", "FFFFF", "FFFFF", "yyyyy", "yyyyy"                                                \
    }
/* §8.2: not of a higher affiliation; nor an equal admin or owner */
#define KICK                                                                                       \
    {                                                                                              \
        "AAAAA", "yyAAA", "yyyAA", "yyyAA", "yyyyA"                                                \
    }
/* §5.1.3: moderators exit; §5.2.1: who may take the role of moderator may kick too, below himself
 */
#define KICK_MOD                                                                                   \
    {                                                                                              \
        "AAAAA", "AAAAA", "AAAAA", "yyyAA", "yyyyA"                                                \
    }
/* §8.4: not at or above the moderator's level, never of admins and owners */
#define SILENCE                                                                                    \
    {                                                                                              \
        "AAAAA", "yAAAA", "yyAAA", "yyyAA", "yyyAA"                                                \
    }
/* §9.7: by admins and owners, of members and below */
#define DEMOTE                                                                                     \
    {                                                                                              \
        "FFFAA", "FFFAA", "FFFAA", "yyyAA", "yyyAA"                                                \
    }
#define OUTSIDE                                                                                    \
    {                                                                                              \
        "FFFFF", "FFFFF", "FFFFF", "yyyAA", "yyyAA"                                                \
    }

static const struct role_change role_changes[] = {
    { "absent", ROLE_NONE, ROLE_NONE, NOBODY_MAY, NOBODY_MAY },
    { "absent to visitor", ROLE_NONE, ROLE_VISITOR, NOBODY_MAY, NOBODY_MAY },
    { "absent to participant", ROLE_NONE, ROLE_PARTICIPANT, NOBODY_MAY, NOBODY_MAY },
    { "absent to moderator", ROLE_NONE, ROLE_MODERATOR, NOBODY_MAY, NOBODY_MAY },
    { "kick visitor", ROLE_VISITOR, ROLE_NONE, KICK, NOBODY_MAY },
    { "still visitor", ROLE_VISITOR, ROLE_VISITOR, ALL_MAY, NOBODY_MAY },
    { "grant voice", ROLE_VISITOR, ROLE_PARTICIPANT, ALL_MAY, NOBODY_MAY },
    { "visitor to moderator", ROLE_VISITOR, ROLE_MODERATOR, ADMINS_MAY, ADMINS_MAY },
    { "kick participant", ROLE_PARTICIPANT, ROLE_NONE, KICK, NOBODY_MAY },
    { "revoke voice", ROLE_PARTICIPANT, ROLE_VISITOR, SILENCE, NOBODY_MAY },
    { "still participant", ROLE_PARTICIPANT, ROLE_PARTICIPANT, ALL_MAY, NOBODY_MAY },
    { "grant moderator", ROLE_PARTICIPANT, ROLE_MODERATOR, ADMINS_MAY, ADMINS_MAY },
    { "kick moderator", ROLE_MODERATOR, ROLE_NONE, KICK_MOD, NOBODY_MAY },
    { "moderator to visitor", ROLE_MODERATOR, ROLE_VISITOR, DEMOTE, OUTSIDE },
    { "revoke moderator", ROLE_MODERATOR, ROLE_PARTICIPANT, DEMOTE, OUTSIDE },
    { "still moderator", ROLE_MODERATOR, ROLE_MODERATOR, ADMINS_MAY, ADMINS_MAY },
};

static void check_role_change(const struct role_change *c, struct muc_standing by)
{
    for (unsigned a = 0; a < AFFILIATIONS; a++) {
        struct muc_standing of = { (enum affiliation)a, c->from };
        const char *row =
            by.role == ROLE_MODERATOR ? c->moderator[by.affiliation] : c->other[by.affiliation];
        char is = letter(muc_role_refusal(by, of, c->to));
        if (is != row[a])
            fail_msg("%s: by %s (%s) of %s: %c, not %c", c->what, affiliation_text[by.affiliation],
                     role_text[by.role], affiliation_text[a], is, row[a]);
    }
}

static void changes_of_roles(void **state)
{
    (void)state;
    assert_int_equal(sizeof role_changes / sizeof role_changes[0], ROOM_ROLES * ROOM_ROLES);
    for (unsigned i = 0; i < ROOM_ROLES * ROOM_ROLES; i++)
        for (unsigned a = 0; a < AFFILIATIONS; a++)
            for (unsigned r = 0; r < ROOM_ROLES; r++)
                check_role_change(&role_changes[i],
                                  (struct muc_standing){ (enum affiliation)a, (enum room_role)r });
}

/* The Affiliation State Chart, §5.2.2: by whom, a row for what it is, a column for what it
 * becomes. An admin who bans an admin or owner: not-allowed (§9.1); who edits the lists of admins
 * and owners in another way: forbidden (§10.5, §10.8). */
static const struct {
    enum affiliation by;
    const char *rows[AFFILIATIONS];
} affiliation_changes[] = {
    { AFF_OUTCAST, NOBODY_MAY }, { AFF_NONE, NOBODY_MAY },
    { AFF_MEMBER, NOBODY_MAY },  { AFF_ADMIN, { "yyyFF", "yyyFF", "yyyFF", "AFFFF", "AFFFF" } },
    { AFF_OWNER, ALL_MAY },
};

static void changes_of_affiliations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AFFILIATIONS * AFFILIATIONS * AFFILIATIONS; i++) {
        unsigned b = i / AFFILIATIONS / AFFILIATIONS, f = i / AFFILIATIONS % AFFILIATIONS;
        enum affiliation to = (enum affiliation)(i % AFFILIATIONS);
        for (unsigned r = 0; r < ROOM_ROLES; r++) { /* roles do not count */
            struct muc_standing by = { affiliation_changes[b].by, (enum room_role)r };
            struct muc_standing of = { (enum affiliation)f, (enum room_role)(ROLE_MODERATOR - r) };
            char is = letter(muc_affiliation_refusal(by, of, to));
            if (is != affiliation_changes[b].rows[f][to])
                fail_msg("%s to %s by %s: %c", affiliation_text[f], affiliation_text[to],
                         affiliation_text[b], is);
        }
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    enum affiliation a;
    enum room_role r;
    for (unsigned i = 0; i < AFFILIATIONS; i++) {
        assert_true(slice_is(affiliation_name((enum affiliation)i), affiliation_text[i]));
        assert_true(affiliation_of(slice_of(affiliation_text[i]), &a));
        assert_int_equal(a, i);
    }
    for (unsigned i = 0; i < ROOM_ROLES; i++) {
        assert_true(slice_is(role_name((enum room_role)i), role_text[i]));
        assert_true(role_of(slice_of(role_text[i]), &r));
        assert_int_equal(r, i);
    }
    static const char *const bad[] = { "", "Owner", "owner ", "moderator\n", "outsider", "mod" };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(affiliation_of(slice_of(bad[i]), &a));
        assert_false(role_of(slice_of(bad[i]), &r));
    }
    assert_false(affiliation_of(SLICE("participant"), &a));
    assert_false(role_of(SLICE("member"), &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(role_privileges_hold),     cmocka_unit_test(affiliation_privileges_hold),
        cmocka_unit_test(roles_of_those_who_enter), cmocka_unit_test(changes_of_roles),
        cmocka_unit_test(changes_of_affiliations),  cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests_name("muc", tests, NULL, NULL);
}
