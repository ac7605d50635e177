/* api_self: what those who have a session do for themselves, whatever their role: change the
 * password, make a second factor. A limited session (ops/console.h) can do nothing else. Each opens
 * a new session and ends the one before it, so a cookie from before is worth nothing. */
#pragma once

struct command;
struct feature;

/* Rows that are no commands, as those of admin/api/api_session.h. */
extern const struct command api_self_password_row, api_self_totp_row, api_self_totp_confirm_row;
extern const struct feature api_self_feature;
