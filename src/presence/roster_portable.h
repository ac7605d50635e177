/* roster_portable: contact lists of the portable format (core/portable.h): <query/> of
 * jabber:iq:roster, and requests that wait, as <presence type='subscribe'/>. */
#pragma once
extern const struct portable_part roster_portable;
