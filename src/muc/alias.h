/* alias: further domains of group chat beside conference.<domain>: the one that the server makes of
 * the number of the node and the name of the cluster (setting muc.alias-automatic), and those that
 * operators add (commands `room-alias …`). Rooms can be made under each; a room belongs to the
 * domain that it was made under.
 *
 * The rows are in the database, the domains in the table of im/host.h. A made name that is made
 * otherwise now, or no longer, stays as an ordinary alias, so that its rooms are reached.
 *
 * Limit: HOST_DOMAINS_MAX aliases. */
#pragma once

extern const struct feature muc_alias_feature;
