/*
 * test/integration/src/gateway_db.c
 *	  Drives the gateway's way to PostgreSQL without HTTP: clients in one process.
 *
 * gateway_db DATABASE SECONDS SETTING=VALUE ... -- GROUP ...
 * A group is words KEY=VALUE separated by commas: kind (append, or what of LANE_*
 * is called: read, slow, error), clients, tenant, type, streams, events, key (1:
 * with idempotency keys), ids (1: with event ids), version, same (1: all with
 * one key), data (bytes), bad (1: text that no database takes), broken
 * (percent that are of type broken.made), delay (seconds).
 * An append's data says group, client and number, so that the log shows what was
 * written twice.  What is unknown or unavailable is tried again when it has a
 * key or ids.  Prints a JSON object a group.
 */
#include <ev.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "appends.h"
#include "config.h"
#include "db.h"
#include "journal.h"

#define LATENCIES_MAX 4000000
#define GROUPS_MAX    16
#define CLIENTS_MAX   2048
#define STATES_MAX    16

typedef struct Group
{
	int number;
	char kind[16], tenant[32], type[64];
	int clients, streams, events, key, ids, version, same, data, bad, broken;
	double delay;
	long done, refused, unknown, unavailable, busy, full, replayed;
	char states[STATES_MAX][6];
	long state_counts[STATES_MAX];
	char message[200];
	double last_done, gap, gap_end; /* the longest time without a done, and when it ended */
	float *latencies;
	long nlatencies;
	FILE *acknowledged;
} Group;

typedef struct Client
{
	Group *group;
	int number;
	long sequence;
	bool again; /* the same request once more */
	double began;
	Arena arena;
	AppendRequest request;
	char text[64];
	ev_timer timer;
} Client;

Config config = {
	.write_connections = 2,
	.reserve_connections = 1,
	.read_connections = 4,
	.slow_connections = 2,
	.read_pipeline = 16,
	.queue_max = 1000,
	.queue_age_seconds = 1,
	.write_timeout_seconds = 10,
	.read_timeout_seconds = 5,
	.slow_timeout_seconds = 10,
	.batch_requests_max = 256,
	.batch_events_max = 5000,
	.batch_bytes_max = 4 << 20,
};

static struct ev_loop *loop;
static Group groups[GROUPS_MAX];
static int ngroups;
static Client clients[CLIENTS_MAX];
static int nclients;
static bool ending;
static bool began;
static long run; /* tells this run's keys from another's */
static double ready_at, seconds;
static ev_timer end_timer;

void
journal(JournalLevel level, const char *format, ...)
{
	va_list args;

	if (level < JOURNAL_INFO)
		return;
	fprintf(stderr, "%.3f %d ", ev_time(), (int) level);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void client_go(Client *client);

static void
client_pause(Client *client, double wait)
{
	ev_timer_stop(loop, &client->timer);
	ev_timer_set(&client->timer, wait, 0);
	ev_timer_start(loop, &client->timer);
}

static void
count_state(Group *group, const char *state, const char *message)
{
	snprintf(group->message, sizeof(group->message), "%s", message);
	for (int i = 0; i < STATES_MAX; i++)
	{
		if (group->states[i][0] == '\0')
			memcpy(group->states[i], state, 6);
		if (strcmp(group->states[i], state) == 0)
		{
			group->state_counts[i]++;
			return;
		}
	}
}

static void
count_done(Client *client)
{
	Group *group = client->group;
	double now = ev_now(loop);

	group->done++;
	if (group->nlatencies < LATENCIES_MAX)
		group->latencies[group->nlatencies++] = (float) (ev_time() - client->began);
	if (group->last_done > 0 && now - group->last_done > group->gap)
	{
		group->gap = now - group->last_done;
		group->gap_end = now;
	}
	group->last_done = now;
}

static void
on_appended(AppendRequest *request, const AppendResult *result)
{
	Client *client = request->context;
	Group *group = client->group;
	bool repeatable = group->key || group->ids;
	double wait = group->delay;

	client->again = false;
	switch (result->known.outcome)
	{
		case BATCH_DONE:
			count_done(client);
			group->replayed += result->known.replayed;
			if (group->acknowledged != NULL)
				for (int i = 0; i < group->events; i++)
					fprintf(group->acknowledged, "%d %ld %d %lld %lld\n", client->number,
							client->sequence, i, (long long) result->events[i].position,
							(long long) result->events[i].version);
			break;
		case BATCH_REFUSED:
			group->refused++;
			count_state(group, result->known.sqlstate, result->known.message);
			break;
		case BATCH_UNKNOWN:
			group->unknown++;
			client->again = repeatable;
			break;
		case BATCH_UNAVAILABLE:
			group->unavailable++;
			client->again = repeatable;
			wait = 0.02;
			break;
		case BATCH_BUSY:
			group->busy++;
			client->again = repeatable;
			break;
	}
	if (wait > 0)
		client_pause(client, wait);
	else
		client_go(client);
}

static void
make_request(Client *client)
{
	Group *group = client->group;
	AppendRequest *request = &client->request;
	AppendEvent *events;

	arena_free(&client->arena);
	events = arena_zalloc(&client->arena, sizeof(*events) * (size_t) group->events);
	*request = (AppendRequest){.element.tenant = group->tenant,
							   .element.user = {"driver", 6},
							   .actor_type = "service",
							   .events = events,
							   .nevents = group->events,
							   .done = on_appended,
							   .context = client};
	if (group->key || group->same)
	{
		char *key = group->same ? arena_printf(&client->arena, "same-%ld", run)
								: arena_printf(&client->arena, "%ld-%d-%d-%ld", run, group->number,
											   client->number, client->sequence);

		request->element.key = (Slice){key, strlen(key)};
		memset(request->fingerprint, 7, sizeof(request->fingerprint));
	}
	for (int i = 0; i < group->events; i++)
	{
		char *stream = group->streams == 0 ? arena_printf(&client->arena, "drive%d-%d",
														  group->number, client->number)
										   : arena_printf(&client->arena, "drive%d-%d",
														  group->number, rand() % group->streams);
		const char *type;
		char *data = arena_printf(&client->arena,
								  "{\"group\": %d, \"client\": %d, \"n\": %ld, \"i\": %d, "
								  "\"run\": %ld, \"filler\": \"%0*d\"}",
								  group->number, client->number, client->sequence, i, run,
								  group->data, 0);

		events[i].stream = (Slice){stream, strlen(stream)};
		type = group->bad ? "bad\xff" : rand() % 100 < group->broken ? "broken.made" : group->type;
		events[i].type = (Slice){type, strlen(type)};
		events[i].data = (Slice){data, strlen(data)};
		if (group->version != -1)
		{
			events[i].has_expected_version = true;
			events[i].expected_version = group->version;
		}
		if (group->ids)
		{
			int numbers[4] = {(int) run, group->number << 16 | client->number,
							  (int) client->sequence, i};

			events[i].event_id = (Slice){
				arena_copy(&client->arena, (char *) numbers, sizeof(numbers)), 16};
		}
	}
}

/* ---- calls of other lanes ---- */

static const DbStatement read_statement = {"read", "SELECT $1::integer + 1", 1, false};
static const DbStatement slow_statement = {"slow", "SELECT pg_catalog.pg_sleep($1::float8)", 1,
										   false};
static const DbStatement error_statement = {"error", "SELECT 1 / ($1::integer * 0)", 1, false};
static const DbStatement absent_statement = {"absent", "SELECT usher.no_such_function($1)", 1,
											 false};

static void
on_called(void *context, DbOutcome outcome, PGresult *result)
{
	Client *client = context;
	Group *group = client->group;
	double wait = group->delay;
	bool right = true;

	switch (outcome)
	{
		case DB_DONE:
			if (strcmp(group->kind, "read") == 0)
				right = atol(PQgetvalue(result, 0, 0)) == client->sequence + 1;
			if (right)
				count_done(client);
			else
				count_state(group, "WRONG", PQgetvalue(result, 0, 0));
			break;
		case DB_REFUSED:
			group->refused++;
			count_state(group, PQresultErrorField(result, PG_DIAG_SQLSTATE),
						PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
			break;
		case DB_LOST:
			group->unknown++;
			break;
		case DB_UNSENT:
			group->unavailable++;
			wait = 0.02;
			break;
	}
	if (wait > 0)
		client_pause(client, wait);
	else
		client_go(client);
}

static void
submit_call(Client *client)
{
	Group *group = client->group;
	DbLane lane = LANE_READ;
	DbCall call = {.statement = &read_statement,
				   .values[0] = client->text,
				   .tenant = group->tenant,
				   .done = on_called,
				   .context = client};

	snprintf(client->text, sizeof(client->text), "%ld", client->sequence);
	if (strcmp(group->kind, "slow") == 0)
	{
		lane = LANE_SLOW;
		call.statement = &slow_statement;
		snprintf(client->text, sizeof(client->text), "%s", group->type);
	}
	else if (strcmp(group->kind, "error") == 0)
		call.statement = client->sequence % 2 == 0 ? &error_statement : &absent_statement;
	db_submit(lane, &call);
}

static void
client_go(Client *client)
{
	Group *group = client->group;

	if (ending)
		return;
	if (!client->again)
	{
		client->sequence++;
		client->began = ev_time();
	}
	if (strcmp(group->kind, "append") != 0)
	{
		submit_call(client);
		return;
	}
	if (!client->again)
		make_request(client);
	if (!batch_add(&append_kind, &client->request.element))
	{
		group->full++;
		client->again = true;
		client_pause(client, 0.02);
	}
}

static void
on_client_timer(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void) l;
	(void) revents;
	client_go(timer->data);
}

static void
on_prepare(struct ev_loop *l, ev_prepare *prepare, int revents)
{
	(void) prepare;
	(void) revents;
	batch_flush();
	if (ending && !batch_busy() && !db_busy())
		ev_break(l, EVBREAK_ALL);
}

static void
on_end(struct ev_loop *l, ev_timer *timer, int revents)
{
	(void) timer;
	(void) revents;
	if (ending) /* it did not become idle */
		ev_break(l, EVBREAK_ALL);
	ending = true;
	ev_timer_set(timer, 15, 0);
	ev_timer_start(l, timer);
}

/* End early. */
static void
on_term(struct ev_loop *l, ev_signal *watcher, int revents)
{
	(void) watcher;
	ev_timer_stop(l, &end_timer);
	if (began && !ending)
		seconds = ev_now(l) - ready_at;
	on_end(l, &end_timer, revents);
}

static void
on_ready(void)
{
	if (began)
		return;
	began = true;
	ready_at = ev_now(loop);
	for (int i = 0; i < nclients; i++)
		client_go(&clients[i]);
	ev_timer_set(&end_timer, seconds, 0);
	ev_timer_start(loop, &end_timer);
}

static int
compare_latencies(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

static double
percentile(const Group *group, double part)
{
	return group->nlatencies == 0
			   ? 0
			   : 1000 * group->latencies[(long) ((double) (group->nlatencies - 1) * part)];
}

static void
print_group(Group *group, double elapsed, double cpu)
{
	Text text = {0};

	qsort(group->latencies, (size_t) group->nlatencies, sizeof(float), compare_latencies);
	text_printf(
		&text,
		"{\"kind\": \"%s\", \"tenant\": \"%s\", \"done\": %ld, \"rate\": %.0f, \"p50_ms\": %.2f,"
		" \"p99_ms\": %.2f, \"max_ms\": %.1f, \"refused\": %ld, \"unknown\": %ld,"
		" \"unavailable\": %ld, \"busy\": %ld, \"full\": %ld, \"replayed\": %ld,"
		" \"gap\": %.3f, \"gap_end\": %.3f, \"cpu_seconds\": %.3f, \"message\": ",
		group->kind, group->tenant, group->done, (double) group->done / elapsed,
		percentile(group, 0.5), percentile(group, 0.99), percentile(group, 1), group->refused,
		group->unknown, group->unavailable, group->busy, group->full, group->replayed, group->gap,
		group->gap_end, cpu);
	text_json(&text, group->message, strlen(group->message));
	text_puts(&text, ", \"states\": {");
	for (int i = 0; i < STATES_MAX && group->states[i][0] != '\0'; i++)
		text_printf(&text, "%s\"%s\": %ld", i > 0 ? ", " : "", group->states[i],
					group->state_counts[i]);
	text_puts(&text, "}}");
	puts(text.data);
	text_free(&text);
}

static void
read_setting(char *word)
{
	char *value = strchr(word, '=');
	const struct
	{
		const char *name;
		int *number;
	} settings[] = {
		{"write_connections", &config.write_connections},
		{"read_connections", &config.read_connections},
		{"slow_connections", &config.slow_connections},
		{"read_pipeline", &config.read_pipeline},
		{"queue_max", &config.queue_max},
		{"batch_requests_max", &config.batch_requests_max},
		{"batch_events_max", &config.batch_events_max},
	};

	if (value == NULL)
		exit(2);
	*value++ = '\0';
	if (strcmp(word, "run") == 0)
		run = atol(value);
	else if (strcmp(word, "slow_timeout") == 0)
		config.slow_timeout_seconds = atof(value);
	else if (strcmp(word, "write_timeout") == 0)
		config.write_timeout_seconds = atof(value);
	else
		for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
			if (strcmp(settings[i].name, word) == 0)
				*settings[i].number = atoi(value);
}

static void
read_group(char *words)
{
	Group *group = &groups[ngroups];
	char *rest = words;

	*group = (Group){.number = ngroups, .clients = 1, .events = 1, .version = -1, .data = 60};
	ngroups++;
	strcpy(group->kind, "append");
	strcpy(group->tenant, "default");
	strcpy(group->type, "drive.made");
	group->latencies = malloc(LATENCIES_MAX * sizeof(float));
	for (char *word; (word = strsep(&rest, ",")) != NULL;)
	{
		char *value = strchr(word, '=');
		const struct
		{
			const char *name;
			int *number;
		} numbers[] = {
			{"clients", &group->clients}, {"streams", &group->streams},
			{"events", &group->events},   {"key", &group->key},
			{"ids", &group->ids},         {"version", &group->version},
			{"same", &group->same},       {"data", &group->data},
			{"bad", &group->bad},         {"broken", &group->broken},
		};

		if (value == NULL)
			exit(2);
		*value++ = '\0';
		if (strcmp(word, "kind") == 0)
			snprintf(group->kind, sizeof(group->kind), "%s", value);
		else if (strcmp(word, "tenant") == 0)
			snprintf(group->tenant, sizeof(group->tenant), "%s", value);
		else if (strcmp(word, "type") == 0)
			snprintf(group->type, sizeof(group->type), "%s", value);
		else if (strcmp(word, "delay") == 0)
			group->delay = atof(value);
		else if (strcmp(word, "acknowledged") == 0)
			group->acknowledged = fopen(value, "w");
		else
			for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
				if (strcmp(numbers[i].name, word) == 0)
					*numbers[i].number = atoi(value);
	}
	for (int i = 0; i < group->clients && nclients < CLIENTS_MAX; i++)
	{
		Client *client = &clients[nclients++];

		client->group = group;
		client->number = i;
		ev_init(&client->timer, on_client_timer);
		client->timer.data = client;
	}
}

int
main(int argc, char **argv)
{
	ev_prepare prepare;
	ev_signal term;
	struct rusage usage;
	double elapsed, cpu;
	int i = 3;

	if (argc < 4)
		return 2;
	config.database = argv[1];
	seconds = atof(argv[2]);
	run = (long) ev_time() % 1000000;
	for (; i < argc && strcmp(argv[i], "--") != 0; i++)
		read_setting(argv[i]);
	for (i++; i < argc && ngroups < GROUPS_MAX; i++)
		read_group(argv[i]);
	loop = ev_default_loop(EVFLAG_AUTO);
	ev_prepare_init(&prepare, on_prepare);
	ev_prepare_start(loop, &prepare);
	ev_signal_init(&term, on_term, SIGTERM);
	ev_signal_start(loop, &term);
	ev_init(&end_timer, on_end);
	db_on_ready(on_ready);
	db_start(loop);
	ev_run(loop, 0);
	elapsed = ev_now(loop) - ready_at;
	getrusage(RUSAGE_SELF, &usage);
	cpu = (double) usage.ru_utime.tv_sec + (double) usage.ru_utime.tv_usec / 1e6 +
		  (double) usage.ru_stime.tv_sec + (double) usage.ru_stime.tv_usec / 1e6;
	db_stop();
	for (i = 0; i < ngroups; i++)
	{
		print_group(&groups[i], elapsed < seconds ? elapsed : seconds, cpu);
		free(groups[i].latencies);
		if (groups[i].acknowledged != NULL)
			fclose(groups[i].acknowledged);
	}
	for (i = 0; i < nclients; i++)
		arena_free(&clients[i].arena);
	ev_loop_destroy(loop);
	return 0;
}
