/* vcard_photo: the command `user photo`, for the page of a user in the console. */
#pragma once

struct command;
struct store_stmt;

extern struct command vcard_photo_command;
extern struct store_stmt vcard_own_stmt; /* the card of an account, by its id */
