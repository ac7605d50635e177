/* groups_lists: group list and show, group-member list, user groups. They read at the home of
 * DUTY_GROUPS. A list has pages; the members in `group show` are whole, or left out. */
#pragma once
#include <stdbool.h>

struct command_call;

void groups_run_list(struct command_call *call);
void groups_run_show(struct command_call *call);
void groups_run_member_list(struct command_call *call);
void groups_run_of_user(struct command_call *call);
/* false: the call has failed, as there is no group of the name that it has. */
bool groups_is_known(struct command_call *call, bool is_there);
