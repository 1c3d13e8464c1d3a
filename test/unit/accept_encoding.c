/*
 * test/unit/accept_encoding.c
 *	  Does a client want its reply compressed?
 */
#include "accept_encoding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct
{
	const char *header;
	bool gzip;
} cases[] = {
	{"gzip", true},
	{"GZip", true},
	{"x-gzip", true},
	{"gzip, deflate, br", true},
	{"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
	{" deflate , gzip ; q=0.001 ", true},
	{"*", true},
	{"*;q=0.5, identity;q=0.5", true},
	{"gzip;q=0.5, identity;q=0.4", true},
	{"gzip;Q=1", true},
	{"gzip;q=1.000", true},
	{"identity;q=0, gzip", true},
	{",gzip,", true},
	{"", false},
	{",", false},
	{"identity", false},
	{"deflate, br", false},
	{"gzipped", false},
	{"gzip;q=0", false},
	{"gzip;q=0.000", false},
	{"*;q=0", false},
	{"gzip;q=0, *", false},
	{"gzip;q=0.5, identity", false},
	{"gzip;q=0.5, identity;q=0.501", false},
	{"gzip;q=2", false},
	{"gzip;q=1.001", false},
	{"gzip;q=0.0001", false},
	{"gzip;q=-1", false},
	{"gzip;q=", false},
	{"gzip;q", false},
	{"gzip;level=9", false},
	{"gzip;q=.5", false},
	{";q=1", false},
};

int
main(void)
{
	int failures = 0, n = (int) (sizeof(cases) / sizeof(cases[0]));

	for (int i = 0; i < n; i++)
	{
		size_t len = strlen(cases[i].header);
		char *copy = malloc(len + (len == 0));
		bool right;

		memcpy(copy, cases[i].header, len);
		right = accepts_gzip((Slice){copy, len}) == cases[i].gzip;
		failures += !right;
		printf("%sok %d - %s: \"%s\"\n", right ? "" : "not ", i + 1,
			   cases[i].gzip ? "wanted" : "not wanted", cases[i].header);
		free(copy);
	}
	if (accepts_gzip((Slice){NULL, 0}))
		failures++;
	printf("%sok %d - not wanted: without the header\n1..%d\n",
		   accepts_gzip((Slice){NULL, 0}) ? "not " : "", n + 1, n + 1);
	return failures > 0;
}
