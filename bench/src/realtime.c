/*
 * bench/src/realtime.c
 *		Many clients of the live log in one process, and the events that they wait for.
 *
 * usage: realtime flow|burst DATABASE PORT TOKEN ws|sse CONNECTIONS RATE|TIMES SECONDS|PID
 *
 * Each connection brings a token. A WebSocket has two subscriptions, one of them with a filter that fits; a stream of
 * server-sent events has one, with the filter. `flow` appends RATE events a second, one a transaction, from four
 * sessions for SECONDS and takes the time from the answer to each commit (and from its request) to each receipt. `burst` appends TIMES
 * events, each when everybody has the one before, and takes the time from the answer to the commit to the last receipt;
 * and the anonymous memory of the server with this PID before the first connection and after the first event.
 *
 * DATABASE may be feed:PORT, for servers that get their events as lines of JSON there.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONS    4
#define MARK_LEN    11 /* "E00000012", with its quotes */
#define WAIT_NS     (60 * (int64_t) 1000000000)
#define HEADS_AHEAD 64 /* connections that are being made at once */

typedef struct Conn
{
	int fd;
	bool ready;
	char tail[64]; /* the end of what was read, where a mark may be cut */
	size_t tail_len;
} Conn;

typedef struct Receipt
{
	int event;
	int64_t at;
} Receipt;

static struct
{
	const char *database, *token;
	bool ws;
	int nconns, ready, epoll, nevents;
	double rate;
	Conn *conns;
	Receipt *receipts;
	int64_t nreceipts, receipts_max;
	int64_t *sent, *committed, start;
} run;

static void
send_all(const Conn *c, const char *data, size_t len)
{
	if (send(c->fd, data, len, MSG_NOSIGNAL) != (ssize_t) len)
		die("a connection does not take what it is told: %s", strerror(errno));
}

/* Masked with zeros. */
static void
send_frame(const Conn *c, unsigned char opcode, const char *text)
{
	unsigned char frame[512];
	size_t len = strlen(text), at = 0;

	frame[at++] = 0x80 | opcode;
	if (len < 126)
		frame[at++] = (unsigned char) (0x80 | len);
	else
	{
		frame[at++] = 0x80 | 126;
		frame[at++] = (unsigned char) (len >> 8);
		frame[at++] = (unsigned char) len;
	}
	memset(frame + at, 0, 4);
	memcpy(frame + at + 4, text, len);
	send_all(c, (char *) frame, at + 4 + len);
}

static void
send_head(const Conn *c)
{
	char head[2048];
	const char *what =
		run.ws
			? "/v1/ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			  "Sec-WebSocket-Protocol: usher.v1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
			: "/v1/sse?types=bench.*&filter=%7B%22data.show%22%3A7%7D HTTP/1.1\r\n";
	int len = snprintf(head, sizeof(head),
					   "GET %sHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", what,
					   run.token);

	send_all(c, head, (size_t) len);
}

static void
open_conn(Conn *c, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &to, sizeof(to)) != 0)
		die("no connection: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &event);
	send_head(c);
}

static void
take_marks(const char *text, size_t len, int64_t at)
{
	const char *end = text + len, *mark = text;

	while ((mark = memmem(mark, (size_t) (end - mark), "\"E", 2)) != NULL && end - mark >= MARK_LEN)
	{
		if (run.nreceipts == run.receipts_max)
			die("more receipts than there can be");
		run.receipts[run.nreceipts++] = (Receipt){atoi(mark + 2), at};
		mark += MARK_LEN;
	}
}

/* How far the connection is, until it waits for events. */
static void
get_ready(Conn *c, const char *text)
{
	if (run.ws && strstr(text, " 101 ") != NULL)
	{
		send_frame(
			c, 1,
			"{\"op\":\"subscribe\",\"sub\":\"a\",\"types\":[\"bench.*\"],\"filter\":{\"data.show\":7}}");
		send_frame(c, 1,
				   "{\"op\":\"subscribe\",\"sub\":\"b\",\"types\":[\"other.**\",\"more.*\"]}");
	}
	c->ready = strstr(text, run.ws ? "\"sub\":\"b\"" : "retry: ") != NULL;
	run.ready += c->ready;
}

static void
readable(Conn *c)
{
	static char buffer[sizeof(c->tail) + 262144 + 1];
	ssize_t n;

	memcpy(buffer, c->tail, c->tail_len);
	n = read(c->fd, buffer + c->tail_len, 262144);
	if (n <= 0)
		die("a connection has ended: %s", n < 0 ? strerror(errno) : buffer);
	if (run.ws && n >= 2 && memcmp(buffer + c->tail_len, "\x89\0", 2) == 0)
		send_frame(c, 10, "");
	n += (ssize_t) c->tail_len;
	buffer[n] = '\0';
	if (!c->ready)
	{
		get_ready(c, buffer);
		c->tail_len = 0;
		return;
	}
	take_marks(buffer, (size_t) n, now_ns());
	/* Whole marks are taken: only what may begin one stays. */
	c->tail_len = 0;
	for (ssize_t at = n > MARK_LEN - 1 ? n - (MARK_LEN - 1) : 0; at < n; at++)
		if (buffer[at] == '"' && (at + 1 == n || buffer[at + 1] == 'E'))
		{
			c->tail_len = (size_t) (n - at);
			memcpy(c->tail, buffer + at, c->tail_len);
			break;
		}
}

/* Reads what has come; returns whether there was anything. */
static bool
poll_once(int timeout_ms)
{
	struct epoll_event events[512];
	int n = epoll_wait(run.epoll, events, 512, timeout_ms);

	for (int i = 0; i < n; i++)
		readable(events[i].data.ptr);
	return n > 0;
}

static void
wait_receipts(int64_t wanted)
{
	int64_t deadline = now_ns() + WAIT_NS;

	while (run.nreceipts < wanted)
	{
		poll_once(100);
		if (now_ns() > deadline)
			die("%lld of %lld receipts have come", (long long) run.nreceipts, (long long) wanted);
	}
}

/* Events of this process come from a database, or, to the peers, by a connection. */
typedef struct Producer
{
	PGconn *database;
	int feed;
} Producer;

static void
append(const Producer *producer, int event, int session)
{
	char data[64], stream[32], line[256];
	const char *params[2] = {stream, data};
	int len;

	snprintf(data, sizeof(data), "{\"show\": 7, \"mark\": \"E%08d\"}", event);
	snprintf(stream, sizeof(stream), "bench-%d", session);
	len = snprintf(
		line, sizeof(line),
		"{\"position\":%d,\"stream\":\"%s\",\"version\":%d,\"id\":\"01900000-0000-7000-8000-%012d\","
		"\"type\":\"bench.flow\",\"data\":%s,\"metadata\":{},\"recorded_at\":\"2026-01-01T00:00:00.000000Z\"}\n",
		event + 1, stream, event + 1, event, data);
	run.sent[event] = now_ns();
	if (producer->database == NULL && send(producer->feed, line, (size_t) len, MSG_NOSIGNAL) != len)
		die("the feed does not take an event: %s", strerror(errno));
	if (producer->database)
		expect(producer->database,
			   PQexecPrepared(producer->database, "append", 2, params, NULL, NULL, 0),
			   PGRES_TUPLES_OK);
	run.committed[event] = now_ns();
}

static Producer
producer_begin(void)
{
	Producer producer = {NULL, -1};
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (strncmp(run.database, "feed:", 5) != 0)
	{
		producer.database = open_connection(run.database);
		prepare(producer.database, "append", "SELECT usher.append($1, 'bench.flow', $2::jsonb)");
		return producer;
	}
	to.sin_port = htons((uint16_t) atoi(run.database + 5));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	producer.feed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (producer.feed < 0 || connect(producer.feed, (struct sockaddr *) &to, sizeof(to)) != 0)
		die("no feed: %s", strerror(errno));
	return producer;
}

static void
producer_end(const Producer *producer)
{
	if (producer->database)
		PQfinish(producer->database);
	else
		close(producer->feed);
}

static void *
produce(void *argument)
{
	int session = (int) (intptr_t) argument;
	Producer producer = producer_begin();

	for (int event = session; event < run.nevents; event += SESSIONS)
	{
		int64_t pause = run.start + (int64_t) (event * 1e9 / run.rate) - now_ns();

		if (pause > 0)
			nanosleep(&(struct timespec){pause / 1000000000, pause % 1000000000}, NULL);
		append(&producer, event, session);
	}
	producer_end(&producer);
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

static double
percentile_ms(int64_t *values, int64_t n, double share)
{
	return (double) values[(int64_t) ((double) (n - 1) * share)] / 1e6;
}

static void
flow(void)
{
	pthread_t threads[SESSIONS];
	int64_t *behind = malloc(sizeof(int64_t) * (size_t) run.receipts_max);
	int64_t *whole = malloc(sizeof(int64_t) * (size_t) run.receipts_max);
	double seconds;

	run.start = now_ns() + 200000000;
	for (int i = 0; i < SESSIONS; i++)
		pthread_create(&threads[i], NULL, produce, (void *) (intptr_t) i);
	wait_receipts(run.receipts_max);
	seconds = (double) (now_ns() - run.start) / 1e9;
	for (int i = 0; i < SESSIONS; i++)
		pthread_join(threads[i], NULL);
	for (int64_t i = 0; i < run.nreceipts; i++)
	{
		const Receipt *r = &run.receipts[i];

		/* It may come before the answer to the commit. */
		behind[i] = r->at > run.committed[r->event] ? r->at - run.committed[r->event] : 0;
		whole[i] = r->at - run.sent[r->event];
	}
	qsort(behind, (size_t) run.nreceipts, sizeof(int64_t), compare);
	qsort(whole, (size_t) run.nreceipts, sizeof(int64_t), compare);
	printf("events=%lld seconds=%.3f p50=%.3f p99=%.3f whole_p50=%.3f whole_p99=%.3f\n",
		   (long long) run.nreceipts, seconds, percentile_ms(behind, run.nreceipts, 0.5),
		   percentile_ms(behind, run.nreceipts, 0.99), percentile_ms(whole, run.nreceipts, 0.5),
		   percentile_ms(whole, run.nreceipts, 0.99));
	free(behind);
	free(whole);
}

static double
memory_kb(const char *pid)
{
	char path[64], line[256];
	double kb = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "RssAnon:", 8) == 0)
			kb = atof(line + 8);
	if (file == NULL || kb < 0)
		die("the server's memory cannot be read");
	fclose(file);
	return kb;
}

/* CPU time of the server until now. */
static double
cpu_seconds(const char *pid)
{
	char path[64], line[1024], *field;
	unsigned long user, system;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	file = fopen(path, "r");
	field = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	if (field == NULL ||
		sscanf(field, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		die("the server's time cannot be read");
	fclose(file);
	return (double) (user + system) / (double) sysconf(_SC_CLK_TCK);
}

static void
burst(const char *pid, double before)
{
	Producer producer = producer_begin();
	int64_t *times = malloc(sizeof(int64_t) * (size_t) run.nevents);
	double after = 0, cpu = cpu_seconds(pid);

	for (int event = 0; event < run.nevents; event++)
	{
		append(&producer, event, 0);
		wait_receipts((int64_t) (event + 1) * run.nconns);
		times[event] = run.receipts[run.nreceipts - 1].at - run.committed[event];
		if (event == 0)
			after = memory_kb(pid);
		while (poll_once(100))
			; /* also what is no event */
	}
	qsort(times, (size_t) run.nevents, sizeof(int64_t), compare);
	printf("median=%.1f worst=%.1f kb=%.3f cpu_ms=%.1f\n", percentile_ms(times, run.nevents, 0.5),
		   percentile_ms(times, run.nevents, 1), (after - before) / run.nconns,
		   (cpu_seconds(pid) - cpu) / run.nevents * 1000);
	free(times);
	producer_end(&producer);
}

int
main(int argc, char **argv)
{
	struct rlimit files;
	double before = 0;
	bool is_flow;

	if (argc != 9)
		die("usage: realtime flow|burst DATABASE PORT TOKEN ws|sse CONNECTIONS RATE|TIMES SECONDS|PID");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	is_flow = strcmp(argv[1], "flow") == 0;
	run.database = argv[2];
	run.token = argv[4];
	run.ws = strcmp(argv[5], "ws") == 0;
	run.nconns = atoi(argv[6]);
	run.rate = atof(argv[7]);
	run.nevents = is_flow ? (int) (run.rate * atof(argv[8])) : atoi(argv[7]);
	run.receipts_max = (int64_t) run.nevents * run.nconns;
	run.conns = calloc((size_t) run.nconns, sizeof(Conn));
	run.receipts = malloc(sizeof(Receipt) * (size_t) run.receipts_max);
	run.sent = calloc((size_t) run.nevents, sizeof(int64_t));
	run.committed = calloc((size_t) run.nevents, sizeof(int64_t));
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!is_flow)
		before = memory_kb(argv[8]);
	for (int i = 0; i < run.nconns; i++)
	{
		open_conn(&run.conns[i], atoi(argv[3]));
		while (i + 1 - run.ready >= HEADS_AHEAD)
			poll_once(100);
	}
	while (run.ready < run.nconns)
		poll_once(100);
	if (is_flow)
		flow();
	else
		burst(argv[8], before);
	return 0;
}
