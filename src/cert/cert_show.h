/* cert_show: the command `cert show`, which shows the certificates in use with their chains. */
#pragma once

struct feature;

extern const struct feature cert_show_feature;
