/* muc: the rules of multi-user chat as tables (XEP-0045 §5): who may do what by affiliation and
 * role, which role an affiliation brings, and which changes of either are allowed. Pure. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

/* In order of power. */
enum affiliation { AFF_OUTCAST, AFF_NONE, AFF_MEMBER, AFF_ADMIN, AFF_OWNER };
/* The numbers travel between nodes. */
enum room_role { ROLE_NONE = 0, ROLE_VISITOR = 1, ROLE_PARTICIPANT = 2, ROLE_MODERATOR = 3 };
enum { AFFILIATIONS = AFF_OWNER + 1, ROOM_ROLES = ROLE_MODERATOR + 1 };

/* Rights of a role (§5.1.1) beside what settings of the room allow it. */
enum role_act {
    ACT_PRESENT,     /* is in the room, and gets messages and presence */
    ACT_SPEAK,       /* sends messages to all in a moderated room */
    ACT_KICK,        /* takes the role of participants and visitors */
    ACT_GRANT_VOICE, /* and revokes it */
    ROLE_ACTS
};
bool role_may(enum room_role r, enum role_act act);

/* Rights of an affiliation (§5.2.1). */
enum affiliation_act {
    ACT_ENTER,         /* an open room */
    ACT_ENTER_MEMBERS, /* a members-only room */
    ACT_REGISTER,      /* with an open room; members and above are registered already */
    ACT_MEMBER_LIST,   /* sees the list of a members-only room */
    ACT_BAN,
    ACT_EDIT_MEMBERS,
    ACT_EDIT_MODERATORS, /* grants and revokes the role of moderator */
    ACT_EDIT_ADMINS,
    ACT_EDIT_OWNERS,
    ACT_CONFIGURE,
    ACT_DESTROY,
    AFFILIATION_ACTS
};
bool affiliation_may(enum affiliation a, enum affiliation_act act);

/* The role that somebody of this affiliation enters with (§5.1.2); ROLE_NONE: may not enter. */
enum { ROOM_MODERATED = 1, ROOM_MEMBERS_ONLY = 2 };
enum room_role affiliation_role(enum affiliation a, unsigned room); /* bits ROOM_ */

/* The asker of a change, or whom it is about. Somebody who is not in the room has ROLE_NONE. */
struct muc_standing {
    enum affiliation affiliation;
    enum room_role role;
};

/* Why `by` may not change the role of `of` to `to` (§5.1.3, §8.2-§8.5, §9.6-§9.8), or the
 * affiliation (§5.2.2, §9, §10): SE_NONE: may; SE_FORBIDDEN: it is not for one of this standing to
 * ask; SE_NOT_ALLOWED: it may be, but not against this one. Neither knows whether both are the
 * same person (§8.2, §9.1: conflict), nor whether the last owner would be lost (§10.4: conflict).
 * Affiliations are changed from outside the room too; roles are not, but for moderators'. */
enum stanza_error muc_role_refusal(struct muc_standing by, struct muc_standing of,
                                   enum room_role to);
enum stanza_error muc_affiliation_refusal(struct muc_standing by, struct muc_standing of,
                                          enum affiliation to);

/* As they stand in attributes; from text, false: not one. */
slice affiliation_name(enum affiliation a);
slice role_name(enum room_role r);
bool affiliation_of(slice name, enum affiliation *out);
bool role_of(slice name, enum room_role *out);
