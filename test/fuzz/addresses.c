/*
 * test/fuzz/addresses.c
 *	  Any bytes as addresses, lists of networks and X-Forwarded-For.
 *
 * An address comes back from its text; a network has its first address; whoever
 * the client is said to be stands in the header or is the peer, and what stands
 * in front of an untrusted address changes nothing.
 */
#include "addresses.h"
#include "fuzz.h"

const char *const usher_fuzz_words[] = {"192.0.2.1",  "10.0.0.1", "10.0.0.0/8", "::1",
										"2001:db8::", "/32",      "/0",         "/129",
										",",          " ",        ":",          "[",
										"]",          "::ffff:",  ":80",        "255",
										".",          "unknown",  NULL};

static void
try_networks(const char *text)
{
	Networks list;
	Slice wrong = {NULL, 0};

	if (!networks_parse(&list, text, &wrong))
	{
		must(wrong.len > 0 && wrong.data >= text && wrong.data + wrong.len <= text + strlen(text));
		must(list.list == NULL && list.count == 0);
		return;
	}
	for (int i = 0; i < list.count; i++)
	{
		must(list.list[i].bits >= 0 && list.list[i].bits <= 128);
		must(networks_have(&list, &list.list[i].address));
	}
	networks_free(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *front = malloc(size + 20), again[ADDRESS_TEXT_SIZE];
	Slice slice = {text, size};
	Address address, back, peer, client;
	Networks proxies;
	Slice wrong;

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (address_parse(slice, &address))
	{
		address_format(&address, again, sizeof(again));
		must(address_parse((Slice){again, strlen(again)}, &back));
		must(memcmp(&address, &back, sizeof(address)) == 0);
		must(address_is_ipv4(&address) == (strchr(again, ':') == NULL));
		for (int bits = 0; bits <= 128; bits += 7)
		{
			back = address_prefix(&address, bits);
			must(bits == 0 || memcmp(&back, &address, (size_t) bits / 8) == 0);
			back = address_prefix(&back, bits);
		}
	}
	try_networks(text);
	must(networks_parse(&proxies, "10.0.0.0/8, 2001:db8::/32", &wrong));
	must(address_parse((Slice){"10.0.0.1", 8}, &peer));
	client = address_of_client(&peer, slice, &proxies);
	if (!networks_have(&proxies, &client))
	{
		int n = snprintf(front, size + 20, "1.1.1.1, x,%s", text);

		if (strlen(text) == size)
		{
			back = address_of_client(&peer, (Slice){front, (size_t) n}, &proxies);
			must(memcmp(&back, &client, sizeof(client)) == 0);
		}
	}
	must(address_parse((Slice){"192.0.2.1", 9}, &peer));
	client = address_of_client(&peer, slice, &proxies);
	must(memcmp(&client, &peer, sizeof(peer)) == 0);
	networks_free(&proxies);
	free(text);
	free(front);
	return 0;
}
