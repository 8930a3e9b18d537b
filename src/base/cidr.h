/*
 * cidr.h - lists of networks: "10.0.0.0/8, 192.0.2.7, fd00::/8".  An IPv4
 * network is kept as its mapped IPv6 one, so that a caller of either family
 * is found.
 */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include "base/base.h"
#include "base/str.h"

#define CIDR_LIST_MAX 64

struct cidr_list {
	unsigned cnt;
	struct {
		uint8_t addr[16];
		unsigned bits; /* of addr that count, 0 to 128 */
	} net[CIDR_LIST_MAX];
};

/* Networks joined by commas, blanks around them; no text, no network.  -1: one
 * is none, has bits behind its prefix, or there are too many. */
int cidr_list_parse(struct str text, struct cidr_list *l_r) MUST_CHECK;
/* A numeric address; a zone behind % does not matter. */
bool cidr_list_has(const struct cidr_list *l, const char *address);

#endif
