/*
 * bench/src/receiver.h
 *		What the receivers of the latency benchmark share: when each event came.
 *
 *		<kind>_receiver HOST:PORT TOPIC COUNT
 *
 * Reads the topic from its beginning, says "ready" when it listens, notes the time (CLOCK_MONOTONIC) at which each body
 * {"n": number, ...} is in the hands of the program, and when all COUNT have come prints lines "number nanoseconds". It
 * gives up when nothing has come for ten seconds.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SILENCE_MS 10000

typedef struct Receiver
{
	char *host; /* of HOST:PORT */
	int port;
	const char *address; /* both */
	const char *topic;
	long count, received;
	int64_t *at; /* [number], 0: not yet */
} Receiver;

static inline void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, "receiver: %s: %s\n", what, why);
	exit(1);
}

static inline int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void
receiver_begin(Receiver *r, int argc, char **argv)
{
	char *colon;

	if (argc != 4 || (colon = strrchr(argv[1], ':')) == NULL)
		die("usage", "receiver HOST:PORT TOPIC COUNT");
	r->address = strdup(argv[1]);
	*colon = '\0';
	r->host = argv[1];
	r->port = atoi(colon + 1);
	r->topic = argv[2];
	r->count = atol(argv[3]);
	r->received = 0;
	r->at = calloc((size_t) r->count, sizeof(int64_t));
	if (r->at == NULL)
		die("times", "no memory");
}

static inline void
receiver_ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* A body that came now. */
static inline void
receiver_take(Receiver *r, const char *body, size_t len)
{
	char text[32];
	long number;

	if (len < 7 || memcmp(body, "{\"n\": ", 6) != 0)
		die("body", "it does not begin with a number");
	snprintf(text, sizeof(text), "%.*s", (int) (len - 6 < 20 ? len - 6 : 20), body + 6);
	number = atol(text);
	if (number < 0 || number >= r->count)
		die("body", "a number that nobody sent");
	if (r->at[number] == 0)
	{
		r->at[number] = now_ns();
		r->received++;
	}
}

static inline void
receiver_print(const Receiver *r)
{
	for (long i = 0; i < r->count; i++)
		printf("%ld %lld\n", i, (long long) r->at[i]);
}

#endif /* RECEIVER_H */
