/*
 * gateway/lib/addresses.h
 *	  Internet addresses and lists of networks (CIDR), of both families in one form.
 *
 * Pure C.  An IPv4 address is ::ffff:a.b.c.d, so a list needs one comparison and
 * a client cannot slip through by writing its address the other way.
 */
#ifndef USHERD_ADDRESSES_H
#define USHERD_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/* An IPv6 address; IPv4 as ::ffff:a.b.c.d. */
typedef struct Address
{
	unsigned char bytes[16];
} Address;

#define ADDRESS_TEXT_SIZE 46

extern bool address_parse(Slice text, Address *address); /* without port, brackets and zone */
/* As RFC 5952; of IPv4 without ::ffff:.  size at least ADDRESS_TEXT_SIZE. */
extern void address_format(const Address *address, char *text, size_t size);
extern bool address_is_ipv4(const Address *address);
/* Only its first bits; those of the 128-bit form. */
extern Address address_prefix(const Address *address, int bits);

typedef struct Network
{
	Address address;
	int bits; /* of the 128-bit form */
} Network;

typedef struct Networks
{
	Network *list;
	int count;
} Networks;

/* Separated by blanks or commas: addresses, address/bits.  false: *wrong is the part that is none. */
extern bool networks_parse(Networks *networks, const char *text, Slice *wrong);
extern bool networks_have(const Networks *networks, const Address *address);
extern void networks_free(Networks *networks);

/*
 * The client behind proxies: the last address of X-Forwarded-For that is no proxy of ours, if the peer is one; what
 * stands in front of it anybody can have written.  Whatever is no address ends the walk at the proxy that wrote it.
 */
extern Address
address_of_client(const Address *peer, Slice x_forwarded_for, const Networks *proxies);

#endif /* USHERD_ADDRESSES_H */
