/* contacts: commands about contact lists. The file ext/contacts.c has those about one list,
 * ext/contacts_group.c the one that makes a group of users contacts of each other. */
#pragma once

struct command;
struct log_area;

extern struct command contact_add, contact_group;
extern struct log_area *const contacts_logs[];
