/*
 * test/unit/journal.c
 *	  Logs: lines that are JSON, levels, rotation, and a pipe that nobody reads.
 *
 * unit sources: gateway/journal.c -lpthread
 */
#include "config.h"
#include "journal.h"
#include "json_check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

Config config; /* journal.c reads it; here it is what the tests say */

static char directory[] = "/tmp/usherd-journal-XXXXXX";
static char access_path[100], error_path[100], other_path[100], pipe_path[100];

static void
configure(char *access, char *error, const char *level, int bytes)
{
	config.access_log = access;
	config.error_log = error;
	config.log_level = (char *) (uintptr_t) level;
	config.journal_buffer_bytes = bytes;
}

static char *
contents(const char *path, size_t *len)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 22);

	*len = file ? fread(text, 1, (1 << 22) - 1, file) : 0;
	if (file)
		fclose(file);
	return text;
}

/* Calls each() for every line, which must be a JSON object; returns how many there are, -1 when one is none. */
static int
each_line(const char *text, size_t len, void (*each)(JsonValue line))
{
	const char *at = text, *end = text + len;
	int lines = 0;

	while (at < end)
	{
		const char *stop = memchr(at, '\n', (size_t) (end - at));
		JsonValue line;
		JsonFault fault;

		if (stop == NULL || !json_check(at, (size_t) (stop - at), 5, &line, &fault) ||
			line.kind != JSON_OBJECT)
			return -1;
		if (each != NULL)
			each(line);
		lines++;
		at = stop + 1;
	}
	return lines;
}

static int
lines_of(const char *path, void (*each)(JsonValue line))
{
	size_t len;
	char *text = contents(path, &len);
	int lines = each_line(text, len, each);

	free(text);
	return lines;
}

static JsonValue
member(JsonValue line, const char *name)
{
	JsonWalk walk = json_walk(line);
	JsonValue key, value;

	while (json_next(&walk, &key, &value))
		if (json_string_is(key, name))
			return value;
	return (JsonValue){JSON_NONE, {NULL, 0}};
}

static bool
text_is(JsonValue value, const char *text)
{
	return value.text.len == strlen(text) && memcmp(value.text.data, text, value.text.len) == 0;
}

static int right;

static void
access_line(JsonValue line)
{
	JsonValue time = member(line, "time");

	right += time.text.len == 29 && time.text.data[11] == 'T' && time.text.data[27] == 'Z' &&
			 json_string_is(member(line, "request_id"), "r-1") &&
			 json_string_is(member(line, "trace_id"), "0af7651916cd43dd8448eb211c80319c") &&
			 json_string_is(member(line, "method"), "GET") &&
			 json_string_is(member(line, "path"), "/v1/\"x\"\n\xef\xbf\xbd") &&
			 json_string_is(member(line, "route"), "/v1/{y}") &&
			 text_is(member(line, "status"), "200") &&
			 text_is(member(line, "bytes"), "1234567890123") &&
			 text_is(member(line, "seconds"), "0.001500") &&
			 json_string_is(member(line, "address"), "192.0.2.1") &&
			 json_string_is(member(line, "tenant"), "acme") &&
			 json_string_is(member(line, "user"), "ann");
}

static void
error_line(JsonValue line)
{
	right += (json_string_is(member(line, "level"), "warning") ||
			  json_string_is(member(line, "level"), "error")) &&
			 json_string_is(member(line, "message"), "says \"7\"\t");
}

static void
check_lines(void)
{
	JournalAccess a = {"r-1",         "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
					   {"GET", 3},    {"/v1/\"x\"\n\xff", 9},
					   "/v1/{y}",     200,
					   1234567890123, 0.0015,
					   "192.0.2.1",   "acme",
					   "ann"};
	char *huge = malloc(100001);

	configure(access_path, error_path, "warning", 65536);
	journal_start();
	journal_access(&a);
	journal_access(&a);
	journal(JOURNAL_DEBUG, "nothing");
	journal(JOURNAL_INFO, "nothing");
	journal(JOURNAL_WARNING, "says \"%d\"\t", 7);
	journal(JOURNAL_ERROR, "says \"%d\"\t", 7);
	journal_stop();
	right = 0;
	ok(lines_of(access_path, access_line) == 2 && right == 2, "the access log has its members");
	right = 0;
	ok(lines_of(error_path, error_line) == 2 && right == 2,
	   "the error log has what its level asks for");
	memset(huge, 'x', 100000);
	huge[100000] = '\0';
	a.path = (Slice){huge, 100000};
	journal_start();
	journal(JOURNAL_ERROR, "%s", huge);
	journal_access(&a);
	journal_stop();
	ok(lines_of(error_path, NULL) == 3 && lines_of(access_path, NULL) == 3,
	   "endless texts are cut, and are JSON");
	free(huge);
}

static void
check_rotation(void)
{
	int before, after;

	unlink(error_path);
	configure((char *) (uintptr_t) "", error_path, "info", 65536);
	journal_start();
	for (int i = 0; i < 100; i++)
		journal(JOURNAL_INFO, "before %d", i);
	/* What was written before the rotation may be in either file. */
	rename(error_path, other_path);
	configure((char *) (uintptr_t) "", error_path, "error", 65536);
	journal_reopen();
	for (int i = 0; i < 100; i++)
	{
		journal(JOURNAL_INFO, "not any more");
		journal(JOURNAL_ERROR, "after %d", i);
	}
	journal_stop();
	before = lines_of(other_path, NULL);
	after = lines_of(error_path, NULL);
	ok(before >= 0 && after >= 100 && before + after == 200,
	   "a rotation loses no line, and the level changes");
}

static int64_t seen_lines, seen_dropped;

static void
stuck_line(JsonValue line)
{
	JsonValue dropped = member(line, "dropped");
	int64_t number = 0;

	if (dropped.kind == JSON_NUMBER && json_int(dropped, 1, INT64_MAX, &number))
		seen_dropped += number;
	else
		seen_lines++;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Reads the pipe until all lines have come or are told to be lost. */
static void
drain(int fd, char *text, size_t size, int64_t sent)
{
	double until = now() + 30;
	size_t len = 0;

	while (now() < until && seen_lines + seen_dropped < sent)
	{
		struct pollfd ready = {fd, POLLIN, 0};
		ssize_t n;
		char *last;

		if (poll(&ready, 1, 100) <= 0)
			continue;
		n = read(fd, text + len, size - len);
		if (n <= 0)
			break;
		len += (size_t) n;
		last = memrchr(text, '\n', len);
		if (last != NULL)
		{
			size_t whole = (size_t) (last + 1 - text);

			if (each_line(text, whole, stuck_line) < 0)
				break;
			memmove(text, last + 1, len - whole);
			len -= whole;
		}
	}
}

static void
check_stuck(void)
{
	enum
	{
		LINES = 50000
	};
	char *text = malloc(1 << 20);
	int64_t dropped_before = journal_dropped();
	double start, worst = 0;
	int fd;

	mkfifo(pipe_path, 0600);
	fd = open(pipe_path, O_RDWR | O_NONBLOCK);
	configure((char *) (uintptr_t) "", pipe_path, "info", 65536);
	journal_start();
	start = now();
	for (int i = 0; i < LINES; i++)
	{
		double before = now(), took;

		journal(JOURNAL_INFO, "line %d of many into a pipe that nobody reads", i);
		took = now() - before;
		worst = took > worst ? took : worst;
	}
	/* 5 MB into 128 kB: a caller that waited would wait for ever. */
	ok(now() - start < 20, "nobody waits for a pipe that nobody reads");
	printf("# %d lines in %.3f s, the slowest took %.1f ms\n", LINES, now() - start, worst * 1000);
	ok(journal_dropped() - dropped_before > LINES / 2, "lines that find no room are dropped");
	drain(fd, text, 1 << 20, LINES);
	ok(seen_lines + seen_dropped == LINES && seen_lines > 0 && seen_dropped > LINES / 2,
	   "each line has come, or is counted as dropped in the log itself");
	for (int i = 0; i < 10000; i++)
		journal(JOURNAL_INFO, "the pipe is full again");
	start = now();
	journal_stop();
	ok(now() - start < 5, "the end does not wait for ever");
	close(fd);
	free(text);
}

/* Not a test: how fast it is, for who runs this by hand with --speed. */
static void
measure(void)
{
	JournalAccess a = {"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
					   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
					   {"POST", 4},
					   {"/v1/streams/order-42/events", 27},
					   "/v1/streams/{stream}/events",
					   201,
					   312,
					   0.0021,
					   "192.0.2.1",
					   "acme",
					   "ann"};
	double start;

	configure(access_path, error_path, "info", 1 << 20);
	journal_start();
	start = now();
	for (int i = 0; i < 1000000; i++)
		journal_access(&a);
	printf("# %.0f access lines a second", 1000000 / (now() - start));
	journal_stop();
	printf(", %lld dropped of a million\n", (long long) journal_dropped());
}

int
main(int argc, char **argv)
{
	if (mkdtemp(directory) == NULL)
		return 2;
	snprintf(access_path, sizeof(access_path), "%s/access", directory);
	snprintf(error_path, sizeof(error_path), "%s/error", directory);
	snprintf(other_path, sizeof(other_path), "%s/error.1", directory);
	snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", directory);
	if (argc > 1 && strcmp(argv[1], "--speed") == 0)
		measure();
	else
	{
		check_lines();
		check_rotation();
		check_stuck();
	}
	unlink(access_path);
	unlink(error_path);
	unlink(other_path);
	unlink(pipe_path);
	rmdir(directory);
	return tap_end();
}
