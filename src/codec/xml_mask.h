/* xml_mask: XML for logs, without what it says: texts, and values of attributes that are no
 * addresses, ids or types, become their length in brackets. Of well-formed XML; of other bytes
 * something is made, too, and nothing more is shown. Pure. */
#pragma once
#include "base/slice.h"

struct buf;

enum xml_mask { XML_MASK_TEXTS, XML_MASK_BUT_BODIES /* texts of <body/> and <subject/> stay */ };

void xml_mask(struct buf *out, slice xml, enum xml_mask how);
