/*
 * gateway/metrics.c
 *	  What usherd counts, and its text for Prometheus.
 *
 * One thread, the loop's: counters are plain numbers.  Routes are counted by
 * their templates, so a client cannot make series.
 */
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "budget.h"
#include "db.h"
#include "fanout.h"
#include "journal.h"
#include "limit.h"
#include "listener.h"
#include "live.h"
#include "metrics.h"
#include "presence.h"
#include "router.h"
#include "signals.h"
#include "tail.h"
#include "usherd.h"

#define ROUTES_MAX   64
#define STATUS_FIRST 100
#define STATUS_COUNT 500

static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
								0.25,  0.5,    1,     2.5,  5,     10,   60};

#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

typedef struct RouteCounts
{
	int64_t status[STATUS_COUNT];
	int64_t durations[BOUNDS + 1];
	double seconds;
	int64_t bytes;
} RouteCounts;

static RouteCounts counts[ROUTES_MAX + 1]; /* the last: requests without a route */

static struct
{
	int64_t rounds[BOUNDS + 1];
	double seconds, longest;
} rounds;

static size_t
bound_of(double seconds)
{
	size_t bound = 0;

	while (bound < BOUNDS && seconds > bounds[bound])
		bound++;
	return bound;
}

void
metrics_request(int route, int status, size_t bytes, double seconds)
{
	RouteCounts *c = &counts[route >= 0 && route < ROUTES_MAX ? route : ROUTES_MAX];

	if (status >= STATUS_FIRST && status < STATUS_FIRST + STATUS_COUNT)
		c->status[status - STATUS_FIRST]++;
	c->durations[bound_of(seconds)]++;
	c->seconds += seconds;
	c->bytes += (int64_t) bytes;
}

void
metrics_round(double seconds)
{
	rounds.rounds[bound_of(seconds)]++;
	rounds.seconds += seconds;
	if (seconds > rounds.longest)
		rounds.longest = seconds;
}

void
metrics_label(Text *out, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (data[i] == '\n')
			text_puts(out, "\\n");
		else
		{
			if (data[i] == '\\' || data[i] == '"')
				text_char(out, '\\');
			text_char(out, data[i]);
		}
	}
}

void
metrics_head(Text *out, const char *name, const char *type, const char *help)
{
	text_printf(out, "# HELP %s ", name);
	for (; *help != '\0'; help++)
	{
		if (*help == '\n')
			text_puts(out, "\\n");
		else
		{
			if (*help == '\\')
				text_char(out, '\\');
			text_char(out, *help);
		}
	}
	text_printf(out, "\n# TYPE %s %s\n", name, type);
}

static void
one(Text *out, const char *name, const char *type, const char *help, double value)
{
	metrics_head(out, name, type, help);
	text_printf(out, "%s %.15g\n", name, value);
}

/* {method="GET",route="/v1/log" */
static void
route_labels(Text *out, int i)
{
	const Route *route = i < usherd_nroutes ? &usherd_routes[i] : NULL;

	text_printf(out, "{method=\"%s\",route=\"",
				route == NULL                  ? ""
				: route->method == METHOD_POST ? "POST"
											   : "GET");
	if (route != NULL)
		metrics_label(out, route->path, strlen(route->path));
	text_char(out, '"');
}

static int64_t
requests_of(const RouteCounts *c)
{
	int64_t sum = 0;

	for (size_t i = 0; i <= BOUNDS; i++)
		sum += c->durations[i];
	return sum;
}

/* The number in `counts` of the i-th route that is shown; the one behind all routes is of requests without one. */
static int
place_of(int i)
{
	return i < usherd_nroutes ? i : ROUTES_MAX;
}

static void
add_requests(Text *out)
{
	metrics_head(out, "usherd_requests_total", "counter",
				 "Requests by route and status; 499: the client had gone.");
	for (int i = 0; i <= usherd_nroutes; i++)
		for (int s = 0; s < STATUS_COUNT; s++)
			if (counts[place_of(i)].status[s] > 0)
			{
				text_puts(out, "usherd_requests_total");
				route_labels(out, i);
				text_printf(out, ",status=\"%d\"} %lld\n", s + STATUS_FIRST,
							(long long) counts[place_of(i)].status[s]);
			}
	metrics_head(out, "usherd_reply_bytes_total", "counter", "Bytes of replies' bodies, by route.");
	for (int i = 0; i <= usherd_nroutes; i++)
		if (counts[place_of(i)].bytes > 0)
		{
			text_puts(out, "usherd_reply_bytes_total");
			route_labels(out, i);
			text_printf(out, "} %lld\n", (long long) counts[place_of(i)].bytes);
		}
}

static void
add_durations(Text *out)
{
	static const char name[] = "usherd_request_duration_seconds";

	metrics_head(
		out, name, "histogram",
		"Time from the end of a request's headers to its reply; a long poll's with its wait.");
	for (int i = 0; i <= usherd_nroutes; i++)
	{
		const RouteCounts *c = &counts[place_of(i)];
		int64_t sum = 0;

		if (requests_of(c) == 0)
			continue;
		for (size_t b = 0; b <= BOUNDS; b++)
		{
			sum += c->durations[b];
			text_printf(out, "%s_bucket", name);
			route_labels(out, i);
			if (b < BOUNDS)
				text_printf(out, ",le=\"%g\"} %lld\n", bounds[b], (long long) sum);
			else
				text_printf(out, ",le=\"+Inf\"} %lld\n", (long long) sum);
		}
		text_printf(out, "%s_sum", name);
		route_labels(out, i);
		text_printf(out, "} %.6f\n%s_count", c->seconds, name);
		route_labels(out, i);
		text_printf(out, "} %lld\n", (long long) sum);
	}
}

/* loop.c */
static void
add_rounds(Text *out)
{
	static const char name[] = "usherd_loop_seconds";
	int64_t sum = 0;

	metrics_head(
		out, name, "histogram",
		"Rounds of the loop, from waking up to sleeping; while one lasts everybody waits.");
	for (size_t b = 0; b < BOUNDS; b++)
	{
		sum += rounds.rounds[b];
		text_printf(out, "%s_bucket{le=\"%g\"} %lld\n", name, bounds[b], (long long) sum);
	}
	sum += rounds.rounds[BOUNDS];
	text_printf(out, "%s_bucket{le=\"+Inf\"} %lld\n%s_sum %.6f\n%s_count %lld\n", name,
				(long long) sum, name, rounds.seconds, name, (long long) sum);
	one(out, "usherd_loop_longest_seconds", "gauge", "The longest of them since the start.",
		rounds.longest);
}

static double
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size, resident = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return (double) resident * (double) sysconf(_SC_PAGESIZE);
}

/* The live log (fanout.h). */
static void
add_live(Text *out)
{
	FanoutCounts c = fanout_counts();
	int64_t lag = tail_stable() - fanout_position();

	one(out, "usherd_live_clients", "gauge", "WebSockets and streams of server-sent events.",
		c.clients);
	one(out, "usherd_live_subscriptions", "gauge", "Their subscriptions.", c.subscriptions);
	one(out, "usherd_live_classes", "gauge",
		"Sets of subscriptions that clients have; those of one share what is written.", c.classes);
	one(out, "usherd_live_clients_slow", "gauge",
		"Clients that have not everything: their sockets take no more, or their turn has not come.",
		c.slow);
	one(out, "usherd_live_clients_behind", "gauge",
		"Slow ones, that read the log from the database until they have caught up.", c.behind);
	one(out, "usherd_live_lag_events", "gauge",
		"Positions that were readable when it was last asked, and are not handed over.",
		fanout_ready() && lag > 0 ? (double) lag : 0);
	one(out, "usherd_live_memory_bytes", "gauge", "The newest events, kept for all.",
		(double) c.memory_bytes);
	one(out, "usherd_live_events_total", "counter", "Events that were sent.", (double) c.events);
	one(out, "usherd_live_frames_total", "counter", "Writes that they were sent in.",
		(double) c.frames);
	one(out, "usherd_live_frames_made_total", "counter",
		"Frames that were made for them; one is for all clients of a class.", (double) c.made);
	one(out, "usherd_live_resumed_total", "counter", "Subscriptions that began in the past.",
		(double) c.resumed);
	one(out, "usherd_live_gone_total", "counter",
		"Clients that were told that retention had removed what they wanted.", (double) c.gone);
	one(out, "usherd_live_pages_total", "counter", "Pages of the past that were read.",
		(double) c.pages);
	one(out, "usherd_live_users", "gauge", "Users who follow the log live.", live_counts().users);
	one(out, "usherd_live_limited_total", "counter",
		"How often a user, or a tenant, came to a limit.", (double) live_counts().limited);
	metrics_head(out, "usherd_live_fanout_seconds", "summary",
				 "Time to hand over what was committed to all who can take it.");
	text_printf(out, "usherd_live_fanout_seconds_sum %.6f\nusherd_live_fanout_seconds_count %lld\n",
				c.seconds, (long long) c.rounds);
}

/* signals.h, presence.h */
static void
add_signals(Text *out)
{
	SignalCounts s = signals_counts();
	PresenceCounts p = presence_counts();

	one(out, "usherd_signals_sent_total", "counter", "Signals that the database has taken.",
		(double) s.sent);
	one(out, "usherd_signals_dropped_total", "counter", "Signals that could not be sent.",
		(double) s.dropped);
	one(out, "usherd_signals_received_total", "counter", "Signals that were read.",
		(double) s.received);
	one(out, "usherd_signals_lost_total", "counter",
		"Signals that newer ones had taken the place of before they were read.", (double) s.lost);
	one(out, "usherd_presence_topics", "gauge", "Topics that clients here have joined.", p.topics);
	one(out, "usherd_presence_members", "gauge", "Who is in them, at all gateways.", p.members);
}

void
metrics_own(Text *out)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	metrics_head(out, "usherd_info", "gauge", "1, with the version.");
	text_puts(out, "usherd_info{version=\"" USHERD_VERSION "\"} 1\n");
	one(out, "usherd_database_up", "gauge", "1 while connections to the database stand.",
		db_ready());
	one(out, "usherd_connections", "gauge", "Open connections.", listener_connections());
	one(out, "usherd_requests_in_flight", "gauge", "Requests that have no reply yet.",
		listener_requests());
	one(out, "usherd_buffered_bytes", "gauge",
		"Bytes of requests, messages and subscriptions that are held, and of replies that nobody takes.",
		(double) budget_bytes());
	one(out, "usherd_buffer_refusals_total", "counter",
		"Requests that were refused because no room was left for their bytes.",
		(double) budget_refusals());
	add_requests(out);
	add_durations(out);
	add_rounds(out);
	add_live(out);
	add_signals(out);
	one(out, "usherd_rate_crowded_total", "counter",
		"How often the table of rates had no place for a caller.", (double) limit_crowded());
	one(out, "usherd_log_lines_dropped_total", "counter",
		"Lines that a slow disk or pipe had no room for.", (double) journal_dropped());
	one(out, "process_cpu_seconds_total", "counter", "Processor time.",
		(double) usage.ru_utime.tv_sec + (double) usage.ru_stime.tv_sec +
			(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	one(out, "process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes());
}
