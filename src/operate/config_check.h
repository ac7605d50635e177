/* config_check: the command `config check`, which reads a node file as a start would. */
#pragma once

struct feature;

extern const struct feature config_check_feature;
