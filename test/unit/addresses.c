/*
 * test/unit/addresses.c
 *	  Addresses and networks of both families, and the client behind proxies.
 */
#include "addresses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tests;
static int failures;

static void
ok(bool passed, const char *what, const char *text)
{
	tests++;
	if (!passed)
		failures++;
	printf("%sok %d - %s: %s\n", passed ? "" : "not ", tests, what, text);
}

static Slice
slice(const char *text)
{
	return (Slice){text, text ? strlen(text) : 0};
}

static Address
address(const char *text)
{
	Address result = {{0}};

	if (!address_parse(slice(text), &result))
		printf("# \"%s\" is no address\n", text);
	return result;
}

static const struct
{
	const char *text;
	const char *expected; /* NULL: refused */
} addresses[] = {
	{"192.0.2.1", "192.0.2.1"},
	{"::ffff:192.0.2.1", "192.0.2.1"},
	{"::FFFF:c000:0201", "192.0.2.1"},
	{"0.0.0.0", "0.0.0.0"},
	{"::", "::"},
	{"::1", "::1"},
	{"2001:DB8:0:0:0::1", "2001:db8::1"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"", NULL},
	{"192.0.2", NULL},
	{"192.0.2.256", NULL},
	{"192.0.2.01", NULL},
	{"192.0.2.1 ", NULL},
	{" 192.0.2.1", NULL},
	{"192.0.2.1:80", NULL},
	{"0x7f.0.0.1", NULL},
	{"[::1]", NULL},
	{"::1%eth0", NULL},
	{"1:2:3:4:5:6:7:8:9", NULL},
	{"localhost", NULL},
	{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255.255.255", NULL},
};

static void
check_addresses(void)
{
	char text[ADDRESS_TEXT_SIZE];
	Address read;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
	{
		bool right = address_parse(slice(addresses[i].text), &read);

		text[0] = '\0';
		if (right)
			address_format(&read, text, sizeof(text));
		ok(addresses[i].expected ? right && strcmp(text, addresses[i].expected) == 0 : !right,
		   addresses[i].expected ? "address" : "no address", addresses[i].text);
	}
	ok(!address_parse((Slice){"::1\0x", 5}, &read), "no address", "with a zero byte");
}

static const struct
{
	const char *networks, *address;
	bool has;
} networks[] = {
	{"", "192.0.2.1", false},
	{"192.0.2.1", "192.0.2.1", true},
	{"192.0.2.1", "192.0.2.2", false},
	{"192.0.2.0/24", "192.0.2.255", true},
	{"192.0.2.99/24", "192.0.2.255", true},
	{"192.0.2.0/24", "192.0.3.0", false},
	{"192.0.2.0/24", "::ffff:192.0.2.7", true},
	{"192.0.2.128/25", "192.0.2.127", false},
	{"192.0.2.128/25", "192.0.2.128", true},
	{"192.0.2.6/31", "192.0.2.7", true},
	{"192.0.2.6/31", "192.0.2.8", false},
	{"0.0.0.0/0", "255.1.2.3", true},
	{"0.0.0.0/0", "::1", false},
	{"::/0", "::1", true},
	{"::/0", "192.0.2.1", true},
	{"::ffff:0:0/96", "192.0.2.1", true},
	{"2001:db8::/32", "2001:db8:ffff::1", true},
	{"2001:db8::/33", "2001:db8:8000::1", false},
	{"2001:db8::/33", "2001:db8:7fff::1", true},
	{"2001:db8::1/128", "2001:db8::1", true},
	{"2001:db8::1/128", "2001:db8::2", false},
	{" 10.0.0.0/8,\t172.16.0.0/12  ,2001:db8::/32 ", "172.31.0.1", true},
	{" 10.0.0.0/8,\t172.16.0.0/12  ,2001:db8::/32 ", "172.32.0.1", false},
};

static const char *const no_networks[] = {
	"192.0.2.0/33", "::/129",       "192.0.2.0/",   "192.0.2.0/-1",  "192.0.2.0/8/8",
	"/8",           "10.0.0.0/8 x", "10.0.0.0/0x8", "10.0.0.0/008x", "10/8",
};

static void
check_networks(void)
{
	Networks list;
	Slice wrong;

	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
	{
		Address tried = address(networks[i].address);

		ok(networks_parse(&list, networks[i].networks, &wrong) &&
			   networks_have(&list, &tried) == networks[i].has,
		   networks[i].has ? "has it" : "has it not", networks[i].address);
		networks_free(&list);
	}
	for (size_t i = 0; i < sizeof(no_networks) / sizeof(no_networks[0]); i++)
		ok(!networks_parse(&list, no_networks[i], &wrong) && wrong.len > 0 && list.list == NULL,
		   "no networks", no_networks[i]);
}

static const struct
{
	const char *peer, *header, *client;
} clients[] = {
	{"192.0.2.1", NULL, "192.0.2.1"},
	{"192.0.2.1", "203.0.113.9", "192.0.2.1"},
	{"10.0.0.1", NULL, "10.0.0.1"},
	{"10.0.0.1", "", "10.0.0.1"},
	{"10.0.0.1", "203.0.113.9", "203.0.113.9"},
	{"10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"},
	{"10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
	{"10.0.0.1", "1.1.1.1,203.0.113.9,10.0.0.2 ,\t10.0.0.3", "203.0.113.9"},
	{"10.0.0.1", "10.0.0.5, 10.0.0.4", "10.0.0.5"},
	{"10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"},
	{"10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"},
	{"10.0.0.1", "203.0.113.9,", "10.0.0.1"},
	{"10.0.0.1", ",", "10.0.0.1"},
	{"10.0.0.1", "203.0.113.9:1234", "203.0.113.9"},
	{"10.0.0.1", "203.0.113.9:", "10.0.0.1"},
	{"10.0.0.1", "203.0.113.9:123456", "10.0.0.1"},
	{"10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"},
	{"10.0.0.1", "[2001:db8::7]", "2001:db8::7"},
	{"10.0.0.1", "2001:db8::7", "2001:db8::7"},
	{"10.0.0.1", "[203.0.113.9]", "10.0.0.1"},
	{"10.0.0.1", "[2001:db8::7", "10.0.0.1"},
	{"10.0.0.1", "[2001:db8::7]x", "10.0.0.1"},
	{"10.0.0.1", "2001:db8:1::5, 2001:db8::7", "2001:db8::7"},
	{"::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"},
	{"2001:db8:ffff::1", "203.0.113.9", "203.0.113.9"},
};

static void
check_clients(void)
{
	Networks proxies;
	Slice wrong;
	char text[ADDRESS_TEXT_SIZE];

	networks_parse(&proxies, "10.0.0.0/8 2001:db8:ffff::/48", &wrong);
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
	{
		Address peer = address(clients[i].peer), client;

		client = address_of_client(&peer, slice(clients[i].header), &proxies);
		address_format(&client, text, sizeof(text));
		ok(strcmp(text, clients[i].client) == 0, "client",
		   clients[i].header ? clients[i].header : "without a header");
	}
	networks_free(&proxies);
}

int
main(void)
{
	check_addresses();
	check_networks();
	check_clients();
	printf("1..%d\n", tests);
	return failures > 0;
}
