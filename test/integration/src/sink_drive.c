/*
 * test/integration/src/sink_drive.c
 *	  Drives a sink by sink.h, as the relay does, without PostgreSQL.
 *
 *	  sink_drive KIND [name=value | section/name=value ...] [--option value ...]
 *
 * Sends the messages of positions 1 to --count, or what is left of them behind
 * the position in the file --cursor, in batches of --batch, at most --in-flight
 * outstanding.  The file is renewed after each batch that was acknowledged, so a
 * driver that was killed goes on where it was.  When the peer is lost it opens
 * the sink again at the cursor, --reopen times (0).
 *
 *	  --topic NAME --topics N --keys N --size BYTES --odd-keys 1 --replay N
 *	  --rate N (messages a second)  --prepare 1 (make all messages before the clock starts)
 *	  --sink-id N --lane N --epoch N --log-id ID
 *	  --special POSITION:large=BYTES | topic=NAME | nokey | tombstone   (several times)
 *	  --verify FROM:TO    reads back instead, --since-ms T
 *
 * Prints one JSON object.  Exit status: 0 all acknowledged (or rejected), 1 not.
 * Kinds that are not linked in are not known.
 */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

extern const UsherSinkOps usher_sink_kafka __attribute__((weak));
extern const UsherSinkOps usher_sink_redis __attribute__((weak));
extern const UsherSinkOps usher_sink_nats __attribute__((weak));

#define OPTIONS_MAX  64
#define SPECIALS_MAX 64
#define BATCHES_MAX  4096
#define LINES_MAX    200

typedef struct Special
{
	int64_t position;
	const char *what;
	char *memory; /* of a large body */
} Special;

typedef struct Batch
{
	UsherBatch b;
	Arena arena;
	int sent;
	bool committed;
} Batch;

typedef struct Driver
{
	const UsherSinkOps *ops;
	UsherSink *sink;
	UsherSinkContext context;
	UsherOption options[OPTIONS_MAX];
	Messages messages;
	Special specials[SPECIALS_MAX];
	int nspecials;
	int64_t count, rate;
	int batch_size, in_flight_max, reopen;
	bool prepare;
	const char *cursor_file;

	Batch *batches[BATCHES_MAX]; /* [number % BATCHES_MAX] */
	int first, last; /* batches that are out: first <= n < last */
	Batch **prepared;
	int64_t next; /* position that the next batch begins with */
	int64_t in_flight, done, rejected, duplicates, retried, raised_to;
	int losses;
	struct timespec begun;
	double begun_cpu;
	char *lines[LINES_MAX]; /* JSON objects: rejected messages */
	int nlines;
	char *loss_lines[LINES_MAX];
} Driver;

static volatile sig_atomic_t stop;

static double
seconds_since(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) (now.tv_sec - then->tv_sec) + (double) (now.tv_nsec - then->tv_nsec) / 1e9;
}

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- batches ---- */

static void
special_apply(Driver *d, UsherMessage *m)
{
	for (int i = 0; i < d->nspecials; i++)
	{
		const char *what = d->specials[i].what;

		if (d->specials[i].position != m->position)
			continue;
		if (strncmp(what, "large=", 6) == 0)
		{
			m->body_len = (size_t) atoll(what + 6);
			if (d->specials[i].memory == NULL)
				d->specials[i].memory = memset(malloc(m->body_len), ' ', m->body_len);
			m->body = d->specials[i].memory;
		}
		else if (strncmp(what, "topic=", 6) == 0)
		{
			m->topic = what + 6;
			m->topic_len = strlen(m->topic);
		}
		else if (strcmp(what, "nokey") == 0)
		{
			m->key = NULL;
			m->key_len = 0;
		}
		else if (strcmp(what, "tombstone") == 0)
		{
			m->body = NULL;
			m->body_len = 0;
		}
		else
			drive_die("unknown special ", what);
	}
}

static Batch *
batch_make(Driver *d)
{
	int64_t left = d->count - d->next + 1;
	int n = left < d->batch_size ? (int) left : d->batch_size;
	Batch *batch = calloc(1, sizeof(*batch));

	batch->b.messages = calloc((size_t) n, sizeof(UsherMessage));
	batch->arena.size = message_room(&d->messages) * (size_t) n;
	batch->arena.memory = malloc(batch->arena.size);
	if (batch->arena.memory == NULL)
		drive_die("no memory", "");
	batch->b.count = batch->b.pending = n;
	for (int i = 0; i < n; i++)
	{
		message_make(&d->messages, &batch->b.messages[i], d->next++, &batch->arena);
		special_apply(d, &batch->b.messages[i]);
		batch->b.messages[i].batch = &batch->b;
	}
	batch->b.upto = d->next - 1;
	return batch;
}

static void
batch_free(Batch *batch)
{
	for (int i = 0; i < batch->b.count; i++)
	{
		free(batch->b.messages[i].error_code);
		free(batch->b.messages[i].error_text);
	}
	free(batch->b.messages);
	free(batch->arena.memory);
	free(batch);
}

static Batch *
batch_next(Driver *d)
{
	if (d->prepared != NULL)
	{
		Batch *batch = d->prepared[(d->next - 1) / d->batch_size];

		d->next = batch->b.upto + 1;
		return batch;
	}
	return batch_make(d);
}

static void
prepare_all(Driver *d)
{
	int64_t from = d->next;
	int n = 0;

	d->prepared = calloc((size_t) (d->count / d->batch_size + 2), sizeof(Batch *));
	while (d->next <= d->count)
		d->prepared[n++] = batch_make(d);
	d->next = from;
}

static void
cursor_write(Driver *d, int64_t position)
{
	char text[32], name[1000];
	int len = sprintf(text, "%lld\n", (long long) position);
	int fd;

	d->context.position = position;
	if (d->cursor_file == NULL)
		return;
	snprintf(name, sizeof(name), "%s.new", d->cursor_file);
	fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, (size_t) len) != len || close(fd) != 0 ||
		rename(name, d->cursor_file) != 0)
		drive_die("cannot write ", d->cursor_file);
}

static void
note_rejected(Driver *d, const UsherMessage *m)
{
	char *code = drive_json_string(m->error_code ? m->error_code : ""),
		 *text = drive_json_string(m->error_text ? m->error_text : "");

	d->rejected++;
	if (d->nlines < LINES_MAX &&
		asprintf(&d->lines[d->nlines++],
				 "{\"position\": %lld, \"partition\": %d, \"code\": %s, \"text\": %s}",
				 (long long) m->position, m->partition, code, text) < 0)
		drive_die("no memory", "");
	free(code);
	free(text);
}

static bool
retire(Driver *d)
{
	bool any = false;

	while (d->first < d->last)
	{
		Batch *batch = d->batches[d->first % BATCHES_MAX];

		if (batch->sent < batch->b.count || batch->b.pending > 0 ||
			(d->sink->ops->commit != NULL && !batch->committed))
			break;
		for (int i = 0; i < batch->b.count; i++)
		{
			if (batch->b.messages[i].state == MESSAGE_REJECTED)
				note_rejected(d, &batch->b.messages[i]);
			else if (batch->b.messages[i].state != MESSAGE_DONE)
				drive_die("a message of an acknowledged batch is pending", "");
		}
		d->done += batch->b.count - batch->b.rejected;
		d->in_flight -= batch->b.count;
		cursor_write(d, batch->b.upto);
		if (d->prepared == NULL)
			batch_free(batch);
		d->first++;
		any = true;
	}
	return any;
}

/* ---- the sink ---- */

static void
wait_for_sink(Driver *d, int ms)
{
	struct pollfd p = {d->sink->fd, (short) (POLLIN | (d->sink->want_write ? POLLOUT : 0)), 0};

	if (d->sink->fd < 0)
		p.fd = -1;
	poll(&p, 1, ms);
}

static void
close_sink(Driver *d)
{
	d->duplicates += d->sink->duplicates;
	d->retried += d->sink->retried;
	d->sink->ops->close(d->sink);
	d->sink = NULL;
	for (; d->first < d->last; d->first++)
		if (d->prepared == NULL)
			batch_free(d->batches[d->first % BATCHES_MAX]);
	d->in_flight = 0;
}

/* False: give up. */
static bool
lost(Driver *d, UsherSinkResult result)
{
	char *code = drive_json_string(d->sink->error_code),
		 *text = drive_json_string(d->sink->error_text);

	if (d->losses < LINES_MAX &&
		asprintf(&d->loss_lines[d->losses], "{\"blocked\": %s, \"code\": %s, \"text\": %s}",
				 result == SINK_BLOCKED ? "true" : "false", code, text) < 0)
		drive_die("no memory", "");
	d->losses++;
	free(code);
	free(text);
	close_sink(d);
	if (result == SINK_BLOCKED || d->losses > d->reopen)
		return false;
	if (d->prepared != NULL)
		drive_die("messages that were made before cannot be sent again", "");
	usleep(200000);
	return true;
}

static bool
open_sink(Driver *d)
{
	for (;;)
	{
		UsherSinkResult result;
		int64_t position = d->context.position;

		d->sink = d->ops->open(&d->context, &position, &result);
		while (result == SINK_OK || result == SINK_FULL)
		{
			result = d->sink->ops->poll(d->sink);
			if (result == SINK_OK)
				result = d->sink->ops->ready(d->sink, &position);
			if (result == SINK_OK)
			{
				if (position > d->context.position)
					cursor_write(d, d->raised_to = position);
				d->next = d->context.position + 1;
				return true;
			}
			if (result == SINK_FULL)
				wait_for_sink(d, 5);
		}
		if (!lost(d, result))
			return false;
	}
}

static bool
may_send(Driver *d)
{
	if (d->next > d->count || d->last - d->first >= BATCHES_MAX || stop)
		return false;
	if (d->in_flight >= d->in_flight_max)
		return false;
	return d->rate == 0 || (double) d->next < seconds_since(&d->begun) * (double) d->rate;
}

/* Hand over as much as the sink takes. */
static UsherSinkResult
send_some(Driver *d)
{
	for (;;)
	{
		Batch *batch = d->last > d->first ? d->batches[(d->last - 1) % BATCHES_MAX] : NULL;

		if (batch == NULL || batch->sent == batch->b.count)
		{
			if (!may_send(d))
				return SINK_OK;
			batch = d->batches[d->last++ % BATCHES_MAX] = batch_next(d);
			d->in_flight += batch->b.count;
		}
		while (batch->sent < batch->b.count)
		{
			UsherSinkResult result = d->sink->ops->send(d->sink, &batch->b.messages[batch->sent]);

			if (result != SINK_OK)
				return result;
			batch->sent++;
		}
		if (d->sink->ops->commit != NULL)
		{
			UsherSinkResult result;

			do /* rejections need not be recorded here */
				result = d->sink->ops->commit(d->sink, &batch->b);
			while (result == SINK_FULL);
			if (result != SINK_OK)
				return result;
			batch->committed = true;
			return SINK_OK;
		}
	}
}

static bool
run(Driver *d)
{
	if (!open_sink(d))
		return false;
	if (d->prepare)
		prepare_all(d);
	clock_gettime(CLOCK_MONOTONIC, &d->begun);
	d->begun_cpu = cpu_seconds();
	while (d->context.position < d->count && !(stop && d->first == d->last))
	{
		UsherSinkResult sent = send_some(d), result = sent;

		if (result == SINK_OK || result == SINK_FULL)
			result = d->sink->ops->poll(d->sink);
		if (result != SINK_OK && result != SINK_FULL)
		{
			if (!lost(d, result) || !open_sink(d))
				return false;
			continue;
		}
		if (!retire(d) && (sent == SINK_FULL || !may_send(d)) && d->context.position < d->count)
			wait_for_sink(d, d->sink->fd < 0 ? 1 : 5);
	}
	return true;
}

/* ---- arguments, result ---- */

static const UsherSinkOps *
find_kind(const char *kind)
{
	const UsherSinkOps *const all[] = {&usher_sink_kafka, &usher_sink_redis, &usher_sink_nats};

	for (int i = 0; i < 3; i++)
		if (all[i] != NULL && strcmp(all[i]->kind, kind) == 0)
			return all[i];
	drive_die("unknown kind ", kind);
}

static void
add_option(Driver *d, const char *argument)
{
	char *copy = strdup(argument), *equals = strchr(copy, '='), *slash;
	UsherOption *option = &d->options[d->context.noptions++];

	if (equals == NULL || d->context.noptions > OPTIONS_MAX)
		drive_die("not name=value: ", argument);
	*equals = '\0';
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	option->section = slash != NULL ? copy : "";
	option->name = slash != NULL ? slash + 1 : copy;
	option->value = equals + 1;
	if (strcmp(option->name, "mode") == 0)
		d->messages.structured = strcmp(option->value, "structured") == 0;
}

static void
add_special(Driver *d, const char *value)
{
	const char *colon = strchr(value, ':');

	if (colon == NULL || d->nspecials == SPECIALS_MAX)
		drive_die("not POSITION:what: ", value);
	d->specials[d->nspecials].position = atoll(value);
	d->specials[d->nspecials++].what = colon + 1;
}

static bool
set_number(Driver *d, const char *name, const char *value)
{
	long long number = atoll(value);

	if (strcmp(name, "--count") == 0)
		d->count = number;
	else if (strcmp(name, "--topics") == 0)
		d->messages.topics = (int) number;
	else if (strcmp(name, "--keys") == 0)
		d->messages.keys = (int) number;
	else if (strcmp(name, "--size") == 0)
		d->messages.size = (size_t) number;
	else if (strcmp(name, "--odd-keys") == 0)
		d->messages.odd_keys = number != 0;
	else if (strcmp(name, "--replay") == 0)
		d->messages.replay = d->context.replay = number;
	else if (strcmp(name, "--batch") == 0)
		d->batch_size = (int) number;
	else if (strcmp(name, "--in-flight") == 0)
		d->in_flight_max = (int) number;
	else if (strcmp(name, "--reopen") == 0)
		d->reopen = (int) number;
	else if (strcmp(name, "--rate") == 0)
		d->rate = number;
	else if (strcmp(name, "--prepare") == 0)
		d->prepare = number != 0;
	else if (strcmp(name, "--sink-id") == 0)
		d->context.sink_id = (int) number;
	else if (strcmp(name, "--lane") == 0)
		d->context.lane = (int) number;
	else if (strcmp(name, "--epoch") == 0)
		d->context.epoch = number;
	else
		return false;
	return true;
}

static void
print_lines(const char *name, char **lines, int n)
{
	printf("\"%s\": [", name);
	for (int i = 0; i < n && i < LINES_MAX; i++)
		printf("%s%s", i > 0 ? ", " : "", lines[i]);
	printf("], ");
}

static long
memory_kb(void)
{
	char line[200];
	long kb = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (status != NULL && fgets(line, sizeof(line), status) != NULL)
		if (sscanf(line, "VmHWM: %ld", &kb) == 1)
			break;
	if (status != NULL)
		fclose(status);
	return kb;
}

static void
interrupted(int number)
{
	(void) number;
	stop = 1;
}

int
main(int argc, char **argv)
{
	static Driver d = {
		.messages = {.topic = "drive", .topics = 1, .keys = 100, .size = 150},
		.context = {.sink = "drive", .sink_id = 1, .lanes = 1, .log_id = "1-1", .epoch = 1},
		.count = 1000,
		.batch_size = 1000,
		.in_flight_max = 20000};
	const char *range = NULL;
	int64_t since_ms = 0;
	double seconds, cpu;
	bool ok;

	if (argc < 2)
		drive_die("usage: sink_drive KIND [name=value ...] [--option value ...]", "");
	d.ops = find_kind(argv[1]);
	d.context.options = d.options;
	for (int i = 2; i < argc; i++)
	{
		if (strncmp(argv[i], "--", 2) != 0)
		{
			add_option(&d, argv[i]);
			continue;
		}
		if (i + 1 == argc)
			drive_die("no value for ", argv[i]);
		if (strcmp(argv[i], "--topic") == 0)
			d.messages.topic = argv[i + 1];
		else if (strcmp(argv[i], "--log-id") == 0)
			d.context.log_id = argv[i + 1];
		else if (strcmp(argv[i], "--cursor") == 0)
			d.cursor_file = argv[i + 1];
		else if (strcmp(argv[i], "--special") == 0)
			add_special(&d, argv[i + 1]);
		else if (strcmp(argv[i], "--verify") == 0)
			range = argv[i + 1];
		else if (strcmp(argv[i], "--since-ms") == 0)
			since_ms = atoll(argv[i + 1]);
		else if (!set_number(&d, argv[i], argv[i + 1]))
			drive_die("unknown option ", argv[i]);
		i++;
	}
	if (range != NULL)
		return drive_verify(d.ops, &d.context, &d.messages, range, since_ms);
	if (d.cursor_file != NULL)
	{
		FILE *file = fopen(d.cursor_file, "r");
		long long position;

		if (file != NULL && fscanf(file, "%lld", &position) == 1)
			d.context.position = position;
		if (file != NULL)
			fclose(file);
	}
	signal(SIGTERM, interrupted);
	signal(SIGPIPE, SIG_IGN);
	clock_gettime(CLOCK_MONOTONIC, &d.begun);
	ok = run(&d);
	seconds = seconds_since(&d.begun);
	cpu = cpu_seconds() - d.begun_cpu;
	if (d.sink != NULL)
		close_sink(&d);
	printf(
		"{\"ok\": %s, \"position\": %lld, \"raised_to\": %lld, \"done\": %lld, \"rejected\": %lld, "
		"\"duplicates\": %lld, \"retried\": %lld, ",
		ok ? "true" : "false", (long long) d.context.position, (long long) d.raised_to,
		(long long) d.done, (long long) d.rejected, (long long) d.duplicates,
		(long long) d.retried);
	print_lines("rejections", d.lines, d.nlines);
	print_lines("losses", d.loss_lines, d.losses);
	printf("\"seconds\": %.3f, \"per_second\": %.0f, \"cpu_seconds\": %.3f, \"memory_kb\": %ld}\n",
		   seconds, (double) d.done / seconds, cpu, memory_kb());
	fflush(stdout); /* before the sanitizers look for leaks among threads that run */
	return ok ? 0 : 1;
}
