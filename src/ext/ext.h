/* ext: the small services, one feature each, in files that begin with its name. Any of them can go
 * with its line in app/features.c and its line below, and nothing else changes: `make check-delete`
 * proves it. Files without a feature of their name are shared: access.h, photos.*,
 * quota.*, xml_private.*. */
#pragma once

struct feature;

/* clang-format off */
extern const struct feature adhoc_feature;    /* XEP-0050 */
extern const struct feature capacity_feature; /* sessions above what a node is made for */
extern const struct feature announce_feature; /* announcements, message of the day */
extern const struct feature carbons_feature; /* XEP-0280 */
extern const struct feature csi_feature; /* XEP-0352 */
extern const struct feature contacts_feature; /* commands about contact lists */
extern const struct feature import_feature; /* XEP-0227 */
extern const struct feature disco_feature; /* XEP-0030, XEP-0115, XEP-0157 */
extern const struct feature invisible_feature; /* XEP-0186 */
extern const struct feature extdisco_feature; /* XEP-0215 */
extern const struct feature federation_feature; /* who may speak with other servers */
extern const struct feature mail_address_feature; /* other servers see those */
extern const struct feature groups_feature; /* of users, in the rosters of others */
extern const struct feature last_feature; /* XEP-0012 */
extern const struct feature mam_feature; /* XEP-0313, XEP-0441 */
extern const struct feature mdm_feature; /* multiple device messaging */
extern const struct feature messaging_feature; /* what is allowed */
extern const struct feature multicast_feature; /* XEP-0033 */
extern const struct feature ping_feature; /* XEP-0199 */
extern const struct feature privacy_feature; /* XEP-0016, XEP-0191, XEP-0377, policies */
extern const struct feature private_feature; /* XEP-0049 */
extern const struct feature push_feature; /* XEP-0357 */
extern const struct feature avatar_feature;   /* XEP-0084, XEP-0153, XEP-0398 */
extern const struct feature bookmarks_feature; /* XEP-0402, XEP-0048, XEP-0411 */
extern const struct feature displayed_feature; /* XEP-0490 */
extern const struct feature vcard4_feature; /* XEP-0292 */
extern const struct feature report_feature; /* users and devices that are connected */
extern const struct feature register_feature; /* XEP-0077, XEP-0401, XEP-0445 */
extern const struct feature sift_feature; /* XEP-0273 */
extern const struct feature retrieval_feature; /* XEP-0013 */
extern const struct feature search_feature; /* XEP-0055 */
extern const struct feature service_admin_feature; /* XEP-0133 */
extern const struct feature service_lists_feature; /* blacklist, whitelist */
extern const struct feature time_feature; /* XEP-0202 */
extern const struct feature upload_feature;   /* XEP-0363 */
extern const struct feature vcard_feature; /* XEP-0054 */
extern const struct feature watch_feature; /* temporary presence */
extern const struct feature version_feature; /* XEP-0092 */
extern const struct feature webchat_feature; /* a client for browsers */
/* clang-format on */
