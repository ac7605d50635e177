/* access_lists: the commands that show roles, tokens and administrators: all of them, and one. */
#pragma once

struct command;

extern struct command access_role_list, access_role_show, access_token_list, access_token_show,
    access_admin_list, access_admin_show, access_user_role;
