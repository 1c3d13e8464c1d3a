/*
 * gateway/lib/addresses.c
 *	  Internet addresses and lists of networks (CIDR), of both families in one form.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "addresses.h"

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool
address_is_ipv4(const Address *address)
{
	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

bool
address_parse(Slice text, Address *address)
{
	char copy[ADDRESS_TEXT_SIZE];

	if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, '\0', text.len) != NULL)
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET6, copy, address->bytes) == 1)
		return true;
	memcpy(address->bytes, mapped, sizeof(mapped));
	return inet_pton(AF_INET, copy, address->bytes + 12) == 1;
}

/* Without printf, as inet_ntop() has it: each line of the access log has one. */
static size_t
format_ipv4(const unsigned char *bytes, char text[16])
{
	size_t len = 0;

	for (int i = 0; i < 4; i++)
	{
		if (bytes[i] >= 100)
			text[len++] = (char) ('0' + bytes[i] / 100);
		if (bytes[i] >= 10)
			text[len++] = (char) ('0' + bytes[i] / 10 % 10);
		text[len++] = (char) ('0' + bytes[i] % 10);
		text[len++] = i < 3 ? '.' : '\0';
	}
	return len;
}

void
address_format(const Address *address, char *text, size_t size)
{
	char ipv4[16];
	size_t len;

	if (size > 0)
		text[0] = '\0';
	if (!address_is_ipv4(address))
	{
		if (inet_ntop(AF_INET6, address->bytes, text, (socklen_t) size) == NULL && size > 0)
			text[0] = '\0';
		return;
	}
	len = format_ipv4(address->bytes + 12, ipv4);
	if (len <= size)
		memcpy(text, ipv4, len);
}

Address
address_prefix(const Address *address, int bits)
{
	Address result = {{0}};

	memcpy(result.bytes, address->bytes, (size_t) bits / 8);
	if (bits % 8 != 0)
		result.bytes[bits / 8] = (unsigned char) (address->bytes[bits / 8] & (0xff00 >> bits % 8));
	return result;
}

static bool
network_has(const Network *network, const Address *address)
{
	size_t whole = (size_t) network->bits / 8;
	int rest = network->bits % 8;

	if (memcmp(network->address.bytes, address->bytes, whole) != 0)
		return false;
	return rest == 0 ||
		   ((network->address.bytes[whole] ^ address->bytes[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

/* address or address/bits.  Bits beyond the prefix are no mistake: 10.1.2.3/8 is 10.0.0.0/8. */
static bool
network_parse(Slice text, Network *network)
{
	const char *slash = memchr(text.data, '/', text.len);
	Slice address = {text.data, slash ? (size_t) (slash - text.data) : text.len};
	int bits = 0, most;

	if (!address_parse(address, &network->address))
		return false;
	/* The text decides: ::ffff:0:0/96 is of 128 bits, 0.0.0.0/0 of 32. */
	most = memchr(address.data, ':', address.len) == NULL ? 32 : 128;
	if (slash == NULL)
		bits = most;
	else
	{
		const char *at = slash + 1, *end = text.data + text.len;

		if (at == end || end - at > 3)
			return false;
		for (; at < end; at++)
		{
			if (*at < '0' || *at > '9')
				return false;
			bits = bits * 10 + (*at - '0');
		}
		if (bits > most)
			return false;
	}
	network->bits = bits + 128 - most;
	network->address = address_prefix(&network->address, network->bits);
	return true;
}

bool
networks_parse(Networks *networks, const char *text, Slice *wrong)
{
	const char *at = text;

	*networks = (Networks){NULL, 0};
	for (;;)
	{
		Slice part;
		Network *more;

		at += strspn(at, " \t,");
		part = (Slice){at, strcspn(at, " \t,")};
		if (part.len == 0)
			return true;
		more = realloc(networks->list, sizeof(Network) * (size_t) (networks->count + 1));
		if (more == NULL)
			abort();
		networks->list = more;
		if (!network_parse(part, &networks->list[networks->count]))
		{
			*wrong = part;
			networks_free(networks);
			return false;
		}
		networks->count++;
		at += part.len;
	}
}

bool
networks_have(const Networks *networks, const Address *address)
{
	for (int i = 0; i < networks->count; i++)
		if (network_has(&networks->list[i], address))
			return true;
	return false;
}

void
networks_free(Networks *networks)
{
	free(networks->list);
	*networks = (Networks){NULL, 0};
}

static Slice
trimmed(const char *start, const char *end)
{
	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (Slice){start, (size_t) (end - start)};
}

static bool
is_port(const char *at, const char *end)
{
	if (at == end || *at != ':' || end - at < 2 || end - at > 6)
		return false;
	for (at++; at < end; at++)
		if (*at < '0' || *at > '9')
			return false;
	return true;
}

/* One element: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. */
static bool
forwarded_parse(Slice text, Address *address)
{
	const char *end = text.data + text.len, *close, *colon;

	if (address_parse(text, address))
		return true;
	if (text.len == 0)
		return false;
	if (text.data[0] == '[')
	{
		close = memchr(text.data, ']', text.len);
		return close != NULL && (close + 1 == end || is_port(close + 1, end)) &&
			   memchr(text.data, ':', (size_t) (close - text.data)) != NULL &&
			   address_parse((Slice){text.data + 1, (size_t) (close - text.data - 1)}, address);
	}
	colon = memchr(text.data, ':', text.len);
	return colon != NULL && is_port(colon, end) &&
		   address_parse((Slice){text.data, (size_t) (colon - text.data)}, address);
}

Address
address_of_client(const Address *peer, Slice x_forwarded_for, const Networks *proxies)
{
	Address client = *peer;
	const char *start = x_forwarded_for.data, *end;

	if (start == NULL || !networks_have(proxies, peer))
		return client;
	end = start + x_forwarded_for.len;
	for (;;)
	{
		const char *comma = end;
		Address next;

		while (comma > start && comma[-1] != ',')
			comma--;
		if (!forwarded_parse(trimmed(comma, end), &next))
			return client;
		client = next;
		if (!networks_have(proxies, &client) || comma == start)
			return client;
		end = comma - 1;
	}
}
