/*
 * test/chaos/src/slow_clients.c
 *	  Clients of the live log that stop reading, and some beside them that do not.
 *
 * usage: slow_clients PORT TOKEN SLOW LIVE EVENTS
 *
 * SLOW clients, every other over WebSocket and the others over server-sent events, want "slow.*" and read nothing behind
 * their subscription until "resume" comes on standard input. LIVE WebSockets, in a thread of their own, want "live.*" all
 * the time; an event says in "t" when it was made, in microseconds. When each slow one has EVENTS events, in order, it
 * says how long that took, what all positions of each are together, and the times of the live ones in both phases; then,
 * a line each, when those of the live ones that took more than 100 ms were made and came, together where they overlap.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK     262144
#define KEPT      64 /* what may be the beginning of a position, at the end of what was read */
#define TIMES_MAX 4000000
#define LATE_US   100000
#define LATE_MAX  1000
/* Of the slow ones: it is full before usherd would send them a ping, which waits for them then. */
#define RECEIVE_BUFFER 262144

static const char position_mark[] = "{\"position\":", time_mark[] = "\"t\": ";

typedef struct Client
{
	int fd;
	bool websocket, ready;
	char kept[KEPT];
	size_t kept_len;
	long long events, last, sum;
	bool disorder;
} Client;

typedef struct Group
{
	Client *clients;
	int n, epoll, receive_buffer;
	void (*take)(Client *client, const char *text, const char *end);
} Group;

static int port;
static const char *token;
static long long *times[2]; /* of the live ones, before and behind "resume" */
static long long ntimes[2];
static atomic_int phase;
static atomic_bool over;

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static long long
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void
say(const Client *client, unsigned char opcode, const char *text)
{
	unsigned char frame[256];
	size_t len = strlen(text);

	frame[0] = 0x80 | opcode;
	frame[1] = (unsigned char) (0x80 | len); /* below 126 */
	memset(frame + 2, 0, 4);
	memcpy(frame + 6, text, len);
	if (send(client->fd, frame, len + 6, MSG_NOSIGNAL) < 0)
		die("a frame");
}

static void
begin(Group *group, int i, bool websocket, const char *types)
{
	Client *client = &group->clients[i];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	char text[4096];
	int len;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client->websocket = websocket;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (group->receive_buffer > 0)
		setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &group->receive_buffer, sizeof(int));
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *) &to, sizeof(to)) != 0)
		die("connect");
	len = snprintf(text, sizeof(text),
				   websocket
					   ? "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
						 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
						 "Authorization: Bearer %s\r\n\r\n"
					   : "GET /v1/sse?types=%2$s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %1$s\r\n\r\n",
				   token, types);
	if (send(client->fd, text, (size_t) len, MSG_NOSIGNAL) != len)
		die("a request");
	if (websocket)
	{
		snprintf(text, sizeof(text), "{\"op\":\"subscribe\",\"sub\":\"s\",\"types\":[\"%s\"]}", types);
		say(client, 1, text);
	}
	/* Its answer, up to the confirmation; this is small and comes at once. */
	for (len = 0; strstr(text, websocket ? "\"subscribed\"" : "retry:") == NULL;)
	{
		ssize_t n = recv(client->fd, text + len, sizeof(text) - 1 - (size_t) len, 0);

		if (n <= 0)
			die("no confirmation");
		len += (int) n;
		text[len] = '\0';
		if (len >= 12 && strncmp(text + 9, websocket ? "101" : "200", 3) != 0)
		{
			fprintf(stderr, "refused: %.80s\n", text);
			exit(1);
		}
	}
	fcntl(client->fd, F_SETFL, O_NONBLOCK);
	epoll_ctl(group->epoll, EPOLL_CTL_ADD, client->fd, &event);
}

static void
take_position(Client *client, const char *text, const char *end)
{
	long long position = strtoll(text, NULL, 10);

	(void) end;
	client->disorder = client->disorder || position <= client->last;
	client->last = position;
	client->sum += position;
	client->events++;
}

/* Of the live ones' thread; overlapping times are one. */
static struct Late
{
	int phase, n;
	long long made, came;
} late[LATE_MAX];
static int nlate;

static void
take_late(int now, long long made, long long came)
{
	struct Late *last = nlate > 0 ? &late[nlate - 1] : NULL;

	if (last == NULL || (made > last->came && nlate < LATE_MAX))
	{
		late[nlate++] = (struct Late){now, 1, made, came};
		return;
	}
	last->n++;
	last->made = made < last->made ? made : last->made;
	last->came = came;
}

static void
take_time(Client *client, const char *text, const char *end)
{
	const char *mark = memmem(text, (size_t) (end - text), time_mark, sizeof(time_mark) - 1);
	int now = atomic_load(&phase);

	take_position(client, text, end);
	if (mark && ntimes[now] < TIMES_MAX)
	{
		long long made = strtoll(mark + sizeof(time_mark) - 1, NULL, 10), came = now_us();

		times[now][ntimes[now]++] = came - made;
		if (came - made > LATE_US)
			take_late(now, made, came);
	}
}

static void
readable(Group *group, Client *client)
{
	static _Thread_local char buffer[KEPT + CHUNK];
	ssize_t n;
	const char *at = buffer, *end, *mark;

	memcpy(buffer, client->kept, client->kept_len);
	n = recv(client->fd, buffer + client->kept_len, CHUNK, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
	{
		fprintf(stderr, "a connection ended behind %lld events: %.*s\n", client->events,
				(int) client->kept_len, client->kept);
		exit(1);
	}
	/* An empty ping; a zero byte stands nowhere else but in a frame's length, and a pong too much does no harm. */
	if (client->websocket && memmem(buffer + client->kept_len, (size_t) n, "\x89\0", 2) != NULL)
		say(client, 10, "");
	end = buffer + client->kept_len + n;
	while ((mark = memmem(at, (size_t) (end - at), position_mark, sizeof(position_mark) - 1)))
	{
		const char *number = mark + sizeof(position_mark) - 1;

		if (end - number < 24)
			break; /* its end may be missing */
		group->take(client, number, end);
		at = number;
	}
	if (mark == NULL)
		mark = end - at > 12 ? end - 12 : at;
	client->kept_len = (size_t) (end - mark);
	memcpy(client->kept, mark, client->kept_len);
}

static void
poll_group(Group *group)
{
	struct epoll_event events[256];
	int n = epoll_wait(group->epoll, events, 256, 100);

	for (int i = 0; i < n; i++)
		readable(group, events[i].data.ptr);
}

static void *
live(void *argument)
{
	while (!atomic_load(&over))
		poll_group(argument);
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	long long x = *(const long long *) a, y = *(const long long *) b;

	return (x > y) - (x < y);
}

static double
share_ms(int which, double share)
{
	return ntimes[which] == 0 ? -1
							  : (double) times[which][(long long) ((double) (ntimes[which] - 1) * share)] / 1000;
}

/* The last events of the text stay in kept[] until more comes: what is there is whole. */
static long long
caught_up(Group *slow, long long wanted)
{
	long long behind = 0;

	for (int i = 0; i < slow->n; i++)
	{
		Client *client = &slow->clients[i];
		const char *mark = memmem(client->kept, client->kept_len, position_mark, sizeof(position_mark) - 1);
		long long there = client->events + (mark != NULL);

		behind += there < wanted;
	}
	return behind;
}

int
main(int argc, char **argv)
{
	Group slow = {.take = take_position, .receive_buffer = RECEIVE_BUFFER}, fast = {.take = take_time};
	pthread_t thread;
	long long wanted, began;
	bool same = true, disorder = false;
	char line[64];

	if (argc != 6)
		return 2;
	port = atoi(argv[1]);
	token = argv[2];
	slow.n = atoi(argv[3]);
	fast.n = atoi(argv[4]);
	wanted = atoll(argv[5]);
	for (int i = 0; i < 2; i++)
		if ((times[i] = malloc(sizeof(long long) * TIMES_MAX)) == NULL)
			die("memory");
	slow.clients = calloc((size_t) slow.n, sizeof(Client));
	fast.clients = calloc((size_t) fast.n, sizeof(Client));
	slow.epoll = epoll_create1(EPOLL_CLOEXEC);
	fast.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < slow.n; i++)
		begin(&slow, i, i % 2 == 0, "slow.*");
	for (int i = 0; i < fast.n; i++)
		begin(&fast, i, true, "live.*");
	pthread_create(&thread, NULL, live, &fast);
	printf("ready\n");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL || strcmp(line, "resume\n") != 0)
		return 2;
	atomic_store(&phase, 1);
	began = now_us();
	while (caught_up(&slow, wanted) > 0 && now_us() - began < 300 * 1000000LL)
		poll_group(&slow);
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	for (int i = 0; i < slow.n; i++)
	{
		Client *client = &slow.clients[i];
		const char *mark = memmem(client->kept, client->kept_len, position_mark, sizeof(position_mark) - 1);

		if (mark)
			take_position(client, mark + sizeof(position_mark) - 1, NULL);
		same = same && client->sum == slow.clients[0].sum && client->events == wanted;
		disorder = disorder || client->disorder;
	}
	for (int i = 0; i < 2; i++)
		qsort(times[i], (size_t) ntimes[i], sizeof(long long), compare);
	printf("seconds=%.3f same=%d disorder=%d events=%lld last=%lld sum=%lld behind=%lld "
		   "n0=%lld p50_0=%.2f p99_0=%.2f n1=%lld p50_1=%.2f p99_1=%.2f\n",
		   (double) (now_us() - began) / 1e6, same, disorder, slow.clients[0].events, slow.clients[0].last,
		   slow.clients[0].sum, caught_up(&slow, wanted), ntimes[0], share_ms(0, 0.5), share_ms(0, 0.99), ntimes[1],
		   share_ms(1, 0.5), share_ms(1, 0.99));
	for (int i = 0; i < nlate; i++)
		printf("%d %d %lld %lld\n", late[i].phase, late[i].n, late[i].made, late[i].came);
	return 0;
}
