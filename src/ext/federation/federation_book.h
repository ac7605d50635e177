/* federation_book: what applies now to foreign domains and to groups of users: the blocklist file,
 * the domains that reports or administrators have blocked, and the rules of departments and groups.
 * One for the process; it is read on any thread, and replaced as a whole by whoever has read it
 * anew. */
#pragma once
#include "ext/federation/federation_list.h"

/* Whom users may speak with on other servers. */
enum federation_mode {
    FEDERATION_DEFAULT, /* what the department or a group says, else federation.users */
    FEDERATION_OFF,     /* nobody */
    FEDERATION_ON,      /* everybody that their domain may (s2s.policy) */
    FEDERATION_ONLY,    /* of these only some domains */
    FEDERATION_EXCEPT,  /* all of these but some domains */
    FEDERATION_MODES
};
extern const char *const federation_mode_names[]; /* NULL-terminated */

enum { FEDERATION_DOMAINS_BYTES = 2000, FEDERATION_GROUPS_MAX = 1000 };

struct federation_rule {
    enum federation_mode mode;
    slice domains; /* FEDERATION_ONLY, FEDERATION_EXCEPT: `partner.test` or `*.partner.test` */
};
struct arena;
struct command_call;
/* Whether a mode has domains as it must; else the call has failed. */
bool federation_mode_fits(struct command_call *call, int64_t mode, slice domains);
#define FEDERATION_MODE_DOC                                                                        \
    "off: no other server; on: all that the domain may; only: of these the ones in --domains; "    \
    "except: all of these but the ones in --domains"

bool federation_domains_ok(slice words); /* a `check`; its `form`: */
#define FEDERATION_DOMAINS_FORM                                                                    \
    "domains with spaces between them; *.DOMAIN is all below it, and an IP address is written in " \
    "full"
/* The domains in the form that is compared: in lower case, IDN as U-labels. Words that are no
 * domains are left out. */
slice federation_domains_prepared(slice words, struct arena *tmp);
bool federation_domains_any(slice words); /* not only spaces */
/* For the audit log: "only domains=a.test b.test"; empty: no rule. In the arena. */
slice federation_rule_text(const struct federation_rule *r, struct arena *arena);
/* Pure. FEDERATION_DEFAULT allows nothing. */
bool federation_rule_allows(const struct federation_rule *r, slice domain);
bool federation_rule_is(const struct federation_rule *r, const struct federation_rule *other);

/* Take over the list; NULL: an empty one. */
void federation_book_put_file(struct federation_list *l);
void federation_book_put_decided(struct federation_list *l);
uint32_t federation_book_file_count(void);

/* Before the name of a shared group (account/shared.h): other names are those of departments. */
#define FEDERATION_GROUP_MARK SLICE("group:")
struct federation_group {
    slice name; /* of the department; or, with the mark, of a shared group */
    struct federation_rule rule;
};
/* Copies. */
void federation_book_put_groups(const struct federation_group *groups, uint32_t count);

/* The database has been read, once at least. */
void federation_book_put_read(void);
bool federation_book_is_read(void);

bool federation_book_file_has_domain(slice domain);    /* of federation.blocklist */
bool federation_book_decided_has_domain(slice domain); /* of administrators and reports */
bool federation_book_blocks(slice bare);
/* The rule that is stored under this name, of either kind; as below. */
struct federation_rule federation_book_named(slice name, struct arena *arena);
/* The rule of a department, copied into the arena; FEDERATION_DEFAULT: it has none. */
struct arena;
struct federation_rule federation_book_group(slice name, struct arena *arena);
/* The same of the first shared group that has a rule and that the account is in, by their names.
 * name: with the mark; may be NULL. At the home of the account. */
struct account;
struct federation_rule federation_book_shared(const struct account *a, struct arena *arena,
                                              slice *name);
bool federation_book_has_shared(void); /* some shared group has a rule */
