/*
 * bench/src/producer.h
 *		What the native producers share: their command line, the messages made before the clock starts, and the figures.
 *
 * A producer defines PROGRAM, its name, before it includes this. Every failure ends it with a message.
 */
#ifndef PRODUCER_H
#define PRODUCER_H

#include "messages.h"

#include <sys/resource.h>
#include <time.h>

/* Every producer's arguments are: where, TOPIC COUNT [name=value ...] */
typedef struct Producer
{
	Messages messages;
	long count;
	UsherMessage *all;
	double begun, cpu;
} Producer;

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", what, why);
	exit(1);
}

static inline double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Of all threads: what another user of the machine does not change. */
static inline double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* `own` takes what no producer shares; false: it knows no such name. */
static inline void
producer_arguments(Producer *p, int argc, char **argv,
				   bool (*own)(void *bench, const char *name, const char *value), void *bench)
{
	p->messages = (Messages){.topic = argv[2], .topics = 1, .keys = 10000, .size = 150};
	p->count = atol(argv[3]);
	for (int i = 4; i < argc; i++)
	{
		char *value = strchr(argv[i], '=');

		if (value == NULL)
			die(argv[i], "not name=value");
		*value++ = '\0';
		if (strcmp(argv[i], "keys") == 0)
			p->messages.keys = atoi(value);
		else if (strcmp(argv[i], "topics") == 0)
			p->messages.topics = atoi(value);
		else if (strcmp(argv[i], "tenant") == 0)
			p->messages.tenant = value;
		else if (strcmp(argv[i], "size") == 0)
			p->messages.size = (size_t) atol(value);
		else if (!own(bench, argv[i], value))
			die(argv[i], "unknown");
	}
}

static inline void
producer_messages(Producer *p)
{
	Arena arena = {.size = message_room(&p->messages) * (size_t) p->count};

	arena.memory = malloc(arena.size);
	p->all = calloc((size_t) p->count, sizeof(UsherMessage));
	if (arena.memory == NULL || p->all == NULL)
		die("messages", "no memory");
	for (long i = 0; i < p->count; i++)
		message_make(&p->messages, &p->all[i], i + 1, &arena);
}

static inline void
producer_begin(Producer *p)
{
	p->begun = now_seconds();
	p->cpu = cpu_seconds();
}

static inline void
producer_print(const Producer *p)
{
	double seconds = now_seconds() - p->begun;

	printf("{\"messages\": %ld, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_seconds\": %.3f}\n",
		   p->count, seconds, (double) p->count / seconds, cpu_seconds() - p->cpu);
}

#endif /* PRODUCER_H */
