/*
 * bench/src/rush.c
 *		A rush of customers over HTTP: many connections, each request of another user, and every reply kept.
 *
 * usage: rush ports=P[,P...] template=FILE requests=N [name=value ...]
 *
 *   template	FILE with the text of a request (rush_plan.h)
 *   requests	how many there are at most; with seconds= they end earlier
 *   users		how many different ones (200000)
 *   header, claims, secret  JSON of a token's header; FILE with its claims, where @USER@ stands for the user; its key, hexadecimal
 *   connections	kept open, one request at a time on each (256); they take turns with the ports
 *   quantity	each asks for 1 to so many (1)
 *   again		per cent that repeat an earlier request (0)
 *   rate		requests a second, on a fixed schedule, from which latencies are measured (0: as fast as replies come)
 *   persist	1: a request that got no answer, or 429 or 503, or 409 of a kind that ends in "-progress", is sent again, with its key, until it has one
 *   id			the member of a granted reply that names the booking (booking_id)
 *   outcomes	FILE for a line each request: key, user, quantity, status, the booking or the problem's kind
 *   seed		of the plan (1)
 *   backwards	1: the plan from its end
 *
 * One thread, epoll, nothing allocated while it runs: it shares the CPUs with what it measures. SIGTERM stops asking; what
 * was asked is waited for. It prints a line "reply STATUS KIND COUNT" for each kind, and at last a line of figures.
 */
#include "rush_plan.h"
#include "rush_reply.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX  256
#define BUFFER_SIZE 16384
#define PORTS_MAX   8
#define NONE        UINT32_MAX
#define PAUSE_NS    INT64_C(20000000) /* before the next try */
#define PATIENCE_NS INT64_C(10000000000) /* for a reply, and for all of them at the end */

enum
{
	DOWN,
	CONNECTING,
	IDLE,
	BUSY
};

typedef struct Connection
{
	int fd;
	int state;
	int port;
	uint32_t asked; /* BUSY: the plan's index */
	int64_t since; /* BUSY: sent at; DOWN: when it broke */
	int64_t due; /* BUSY: when latency begins */
	size_t length;
	char buffer[BUFFER_SIZE + 1];
} Connection;

typedef struct Outcome
{
	uint16_t status; /* 0: none */
	uint8_t kind;
	uint8_t sent; /* how often, at most 255 */
	uint32_t latency_us;
	char booking[BOOKING_LENGTH];
} Outcome;

typedef struct Rush
{
	Plan plan;
	Kinds kinds;
	int port[PORTS_MAX];
	int ports;
	int connections;
	int persist;
	double rate;
	double seconds;
	const char *id;
	const char *outcomes;
	Connection *connection;
	uint32_t *idle; /* a stack of connections */
	int idles;
	uint32_t *again; /* a ring of plan's indexes to be sent again */
	int64_t *again_at;
	uint32_t again_head, again_tail;
	Outcome *outcome;
	uint32_t next;
	uint32_t answered;
	uint64_t granted, replayed, places, broken, differing;
	int64_t begun, ended, last_grant, cpu;
	int epoll;
} Rush;

static volatile sig_atomic_t stopping;

static void
stop(int number)
{
	(void) number;
	stopping = 1;
}

static void
watch(Rush *rush, Connection *connection, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = connection};

	if (epoll_ctl(rush->epoll, operation, connection->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void
idle_push(Rush *rush, Connection *connection)
{
	connection->state = IDLE;
	connection->length = 0;
	rush->idle[rush->idles++] = (uint32_t) (connection - rush->connection);
}

static void
idle_drop(Rush *rush, const Connection *connection)
{
	uint32_t number = (uint32_t) (connection - rush->connection);

	for (int i = 0; i < rush->idles; i++)
		if (rush->idle[i] == number)
		{
			rush->idle[i] = rush->idle[--rush->idles];
			return;
		}
}

static void
send_again(Rush *rush, uint32_t asked)
{
	uint32_t at = rush->again_tail++ % rush->plan.count;

	rush->again[at] = asked;
	rush->again_at[at] = now_ns() + PAUSE_NS;
}

static void
answer_none(Rush *rush, uint32_t asked)
{
	rush->broken++;
	if (rush->persist)
		send_again(rush, asked);
	else
		rush->answered++;
}

static void
connection_break(Rush *rush, Connection *connection)
{
	close(connection->fd);
	if (connection->state == BUSY)
		answer_none(rush, connection->asked);
	else if (connection->state == IDLE)
		idle_drop(rush, connection);
	connection->state = DOWN;
	connection->since = now_ns();
}

static void
connection_open(Rush *rush, Connection *connection)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
								  .sin_port = htons((uint16_t) connection->port)};
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection->fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection->state = CONNECTING;
	if (connect(connection->fd, (struct sockaddr *) &address, sizeof(address)) != 0 &&
		errno != EINPROGRESS)
	{
		connection_break(rush, connection);
		return;
	}
	watch(rush, connection, EPOLL_CTL_ADD, EPOLLOUT);
}

static void
connection_opened(Rush *rush, Connection *connection)
{
	int error = 0;
	socklen_t length = sizeof(error);

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length);
	if (error != 0)
	{
		if (!rush->persist && rush->begun == 0)
			die("cannot connect to port %d: %s", connection->port, strerror(error));
		connection_break(rush, connection);
		return;
	}
	watch(rush, connection, EPOLL_CTL_MOD, EPOLLIN);
	idle_push(rush, connection);
}

static void
request_send(Rush *rush, Connection *connection, uint32_t asked, int64_t now, int64_t due)
{
	char bytes[2 * REQUEST_MAX + PARTS_MAX * KEY_LENGTH];
	size_t length = plan_bytes(&rush->plan, asked, bytes);

	connection->state = BUSY;
	connection->asked = asked;
	connection->since = now;
	connection->due = due;
	if (rush->outcome[asked].sent < UINT8_MAX)
		rush->outcome[asked].sent++;
	if (send(connection->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t) length)
		connection_break(rush, connection);
}

static int64_t
due_at(const Rush *rush, uint32_t n)
{
	return rush->begun + (int64_t) ((double) n / rush->rate * 1e9);
}

static int
asks_on(const Rush *rush, int64_t now)
{
	return !stopping && rush->next < rush->plan.count &&
		   (rush->seconds == 0 || now - rush->begun < (int64_t) (rush->seconds * 1e9));
}

/* Give idle connections something to do. */
static void
requests_issue(Rush *rush)
{
	int64_t now = now_ns();

	while (rush->idles > 0)
	{
		uint32_t asked, at = rush->again_head % rush->plan.count;
		int64_t due = now;

		if (rush->again_head != rush->again_tail && rush->again_at[at] <= now)
		{
			asked = rush->again[at];
			rush->again_head++;
		}
		else if (asks_on(rush, now) && (rush->rate == 0 || (due = due_at(rush, rush->next)) <= now))
			asked = rush->next++;
		else
			break;
		if (rush->rate == 0)
			now = due = now_ns();
		request_send(rush, &rush->connection[rush->idle[--rush->idles]], asked, now, due);
	}
}

/* No answer yet, for who persists? */
static int
is_passing(const Rush *rush, const Reply *reply, const char *kind)
{
	const char *end = "-progress";
	size_t length = strlen(kind);

	return rush->persist && (reply->status == 503 || reply->status == 429 ||
							 (reply->status == 409 && length > strlen(end) &&
							  strcmp(kind + length - strlen(end), end) == 0));
}

static void
grant_note(Rush *rush, const Reply *reply, uint32_t asked)
{
	const char *text;
	Outcome *first = &rush->outcome[plan_first(&rush->plan, asked)];

	rush->last_grant = now_ns();
	if (reply_text(reply, rush->id, &text) != BOOKING_LENGTH)
		die("a granted reply names no booking: %.*s", (int) reply->body_length, reply->body);
	memcpy(rush->outcome[asked].booking, text, BOOKING_LENGTH);
	if (first != &rush->outcome[asked] && first->status / 100 == 2 &&
		memcmp(first->booking, text, BOOKING_LENGTH) != 0)
		rush->differing++;
	if (reply->replayed)
		rush->replayed++;
	else
	{
		rush->granted++;
		rush->places += rush->plan.asked[asked].quantity;
	}
}

static void
reply_take(Rush *rush, Connection *connection, const Reply *reply)
{
	Outcome *outcome = &rush->outcome[connection->asked];
	int kind = kinds_count(&rush->kinds, reply);
	int64_t now = now_ns();

	if (is_passing(rush, reply, rush->kinds.kind[kind].name))
		send_again(rush, connection->asked);
	else
	{
		outcome->status = (uint16_t) reply->status;
		outcome->kind = (uint8_t) kind;
		outcome->latency_us = (uint32_t) ((now - connection->due) / 1000);
		if (reply->status < 300)
			grant_note(rush, reply, connection->asked);
		rush->answered++;
	}
	connection->state = CONNECTING; /* between two requests */
	if (reply->closes)
		connection_break(rush, connection);
	else
		idle_push(rush, connection);
}

static void
connection_read(Rush *rush, Connection *connection)
{
	ssize_t got = recv(connection->fd, connection->buffer + connection->length,
					   BUFFER_SIZE - connection->length, 0);
	Reply reply;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 || connection->state != BUSY)
	{
		connection_break(rush, connection);
		return;
	}
	connection->length += (size_t) got;
	connection->buffer[connection->length] = '\0';
	if (!reply_read(&reply, connection->buffer, connection->length))
	{
		if (connection->length == BUFFER_SIZE)
			die("a reply is too long: %.200s", connection->buffer);
		return;
	}
	if (reply.length != connection->length)
		die("bytes behind a reply: %.200s", connection->buffer + reply.length);
	reply_take(rush, connection, &reply);
}

/* What has broken is opened again, what hangs is broken. */
static void
connections_mend(Rush *rush, int64_t now)
{
	for (int i = 0; i < rush->connections; i++)
	{
		Connection *connection = &rush->connection[i];

		if (connection->state == DOWN && now - connection->since > PAUSE_NS)
			connection_open(rush, connection);
		else if (connection->state == BUSY && now - connection->since > PATIENCE_NS)
			connection_break(rush, connection);
	}
}

static void
turn(Rush *rush, int timeout_ms)
{
	struct epoll_event event[EVENTS_MAX];
	int count = epoll_wait(rush->epoll, event, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < count; i++)
	{
		Connection *connection = event[i].data.ptr;

		if (connection->state == CONNECTING)
			connection_opened(rush, connection);
		else if (connection->state != DOWN)
			connection_read(rush, connection);
	}
}

static void
connections_start(Rush *rush)
{
	int64_t deadline = now_ns() + PATIENCE_NS;

	rush->epoll = epoll_create1(EPOLL_CLOEXEC);
	rush->connection = calloc((size_t) rush->connections, sizeof(Connection));
	rush->idle = calloc((size_t) rush->connections, sizeof(*rush->idle));
	rush->again = calloc(rush->plan.count, sizeof(*rush->again));
	rush->again_at = calloc(rush->plan.count, sizeof(*rush->again_at));
	rush->outcome = calloc(rush->plan.count, sizeof(Outcome));
	if (rush->outcome == NULL || rush->again_at == NULL || rush->connection == NULL)
		die("out of memory");
	memset(rush->outcome, 0, rush->plan.count * sizeof(Outcome));
	for (int i = 0; i < rush->connections; i++)
	{
		rush->connection[i].port = rush->port[i % rush->ports];
		connection_open(rush, &rush->connection[i]);
	}
	while (rush->idles < rush->connections)
	{
		turn(rush, 100);
		if (now_ns() > deadline)
			die("only %d connections in time", rush->idles);
		if (rush->persist)
			connections_mend(rush, now_ns());
	}
}

static int64_t
cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64_t) used.tv_sec * 1000000000 + used.tv_nsec;
}

static void
rush_run(Rush *rush)
{
	int64_t mended, patience = 0;

	connections_start(rush);
	mended = rush->begun = now_ns();
	rush->cpu = -cpu_ns();
	for (;;)
	{
		int64_t now;

		requests_issue(rush);
		turn(rush, rush->rate > 0 || rush->persist ? 1 : 100);
		now = now_ns();
		if (now - mended > PAUSE_NS)
		{
			connections_mend(rush, now);
			mended = now;
		}
		if (asks_on(rush, now))
			continue;
		if (rush->answered == rush->next)
			break;
		if (patience == 0)
			patience = now;
		if (now - patience > 3 * PATIENCE_NS)
			die("%u requests have no answer", rush->next - rush->answered);
	}
	rush->ended = now_ns();
	rush->cpu += cpu_ns();
}

static int
compare_latencies(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

static void
latencies_print(const Rush *rush, const char *name, int granted)
{
	uint32_t *latency = malloc((rush->next + 1) * sizeof(*latency)), count = 0;

	if (latency == NULL)
		die("out of memory");
	for (uint32_t i = 0; i < rush->next; i++)
		if (rush->outcome[i].status != 0 && (!granted || rush->outcome[i].status < 300))
			latency[count++] = rush->outcome[i].latency_us;
	qsort(latency, count, sizeof(*latency), compare_latencies);
	if (count == 0)
		latency[count++] = 0;
	printf(" %sp50=%.3f %sp99=%.3f %smax=%.3f", name, latency[count / 2] / 1e3, name,
		   latency[(uint64_t) count * 99 / 100] / 1e3, name, latency[count - 1] / 1e3);
	free(latency);
}

static void
outcomes_write(const Rush *rush)
{
	FILE *file = fopen(rush->outcomes, "w");
	char key[KEY_LENGTH];

	if (file == NULL)
		die("cannot write %s", rush->outcomes);
	for (uint32_t i = 0; i < rush->next; i++)
	{
		const Outcome *outcome = &rush->outcome[i];
		const Asked *asked = &rush->plan.asked[i];

		plan_key(&rush->plan, i, key);
		fprintf(file, "%.*s\tuser-%0*u\t%d\t%d\t", KEY_LENGTH, key, USER_DIGITS, asked->user,
				asked->quantity, outcome->status);
		if (outcome->status / 100 == 2)
			fprintf(file, "%.*s\n", BOOKING_LENGTH, outcome->booking);
		else
			fprintf(file, "%s\n", outcome->status ? rush->kinds.kind[outcome->kind].name : "");
	}
	if (fclose(file) != 0)
		die("cannot write %s", rush->outcomes);
}

static void
report(const Rush *rush)
{
	for (int i = 0; i < rush->kinds.count; i++)
		printf("reply %d %s %llu\n", rush->kinds.kind[i].status,
			   rush->kinds.kind[i].name[0] ? rush->kinds.kind[i].name : "-",
			   (unsigned long long) rush->kinds.kind[i].count);
	if (rush->outcomes != NULL)
		outcomes_write(rush);
	printf("requests=%u events=%llu replayed=%llu places=%llu broken=%llu differing=%llu "
		   "seconds=%.3f granting=%.3f cpu=%.3f",
		   rush->next, (unsigned long long) rush->granted, (unsigned long long) rush->replayed,
		   (unsigned long long) rush->places, (unsigned long long) rush->broken,
		   (unsigned long long) rush->differing, (double) (rush->ended - rush->begun) / 1e9,
		   (double) (rush->last_grant > 0 ? rush->last_grant - rush->begun : 0) / 1e9,
		   (double) rush->cpu / 1e9);
	latencies_print(rush, "", 0);
	latencies_print(rush, "granted_", 1);
	putchar('\n');
}

static const char *
option(int argc, char **argv, const char *name, const char *without)
{
	size_t length = strlen(name);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	if (without == NULL)
		die("rush needs %s=", name);
	return without;
}

static int
number(int argc, char **argv, const char *name, const char *without)
{
	return atoi(option(argc, argv, name, without));
}

int
main(int argc, char **argv)
{
	static Rush rush;
	Plan *plan = &rush.plan;
	const char *ports = option(argc, argv, "ports", NULL);

	for (; rush.ports < PORTS_MAX && *ports != '\0'; ports += strspn(ports, ","))
		rush.port[rush.ports++] = (int) strtol(ports, (char **) &ports, 10);
	plan->count = (uint32_t) number(argc, argv, "requests", NULL);
	plan->users = (uint32_t) number(argc, argv, "users", "200000");
	plan->seed = (uint32_t) number(argc, argv, "seed", "1");
	rush.connections = number(argc, argv, "connections", "256");
	rush.persist = number(argc, argv, "persist", "0");
	rush.rate = atof(option(argc, argv, "rate", "0"));
	rush.seconds = atof(option(argc, argv, "seconds", "0"));
	rush.id = option(argc, argv, "id", "booking_id");
	rush.outcomes = option(argc, argv, "outcomes", "");
	if (*rush.outcomes == '\0')
		rush.outcomes = NULL;
	plan_template(plan, read_file(option(argc, argv, "template", NULL)));
	if (plan_has(plan, PART_TOKEN))
		plan_tokens(plan, option(argc, argv, "header", NULL),
					read_file(option(argc, argv, "claims", NULL)),
					option(argc, argv, "secret", NULL));
	plan_requests(plan, number(argc, argv, "quantity", "1"), number(argc, argv, "again", "0"));
	if (number(argc, argv, "backwards", "0"))
		plan_reverse(plan);
	signal(SIGTERM, stop);
	rush_run(&rush);
	report(&rush);
	return 0;
}
