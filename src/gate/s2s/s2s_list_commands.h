/* s2s_list_commands: the commands `s2s-route …` and `s2s-demand …`. */
#pragma once

struct command;

extern struct command s2s_route_add_command, s2s_route_set_command, s2s_route_del_command,
    s2s_route_list_command, s2s_demand_set_command, s2s_demand_del_command, s2s_demand_list_command;
