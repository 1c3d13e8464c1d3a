/*
 * test/integration/src/echo_websocket.c
 *	  A WebSocket server that says what it hears, on the gateway's own framing (gateway/lib/websocket.c).
 *
 * For conformance tests: usherd itself takes no binary messages and no large
 * ones.  Prints its port; a process for each connection, until standard input
 * ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/websocket.h"

#define MESSAGE_MAX (32 * 1024 * 1024) /* the largest of Autobahn's cases has 16 MB */
#define HEAD_MAX    8192

static void __attribute__((noreturn))
die(const char *what)
{
	perror(what);
	exit(1);
}

static bool
put(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0)
	{
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t) n;
	}
	return true;
}

static bool
say(int fd, WebsocketOpcode opcode, const char *data, size_t len)
{
	char head[WEBSOCKET_HEAD_MAX];
	size_t n = websocket_head(head, opcode, len);

	return put(fd, head, n) && put(fd, data, len);
}

static bool
say_close(int fd, uint16_t code)
{
	char payload[2] = {(char) (code >> 8), (char) code};

	return say(fd, WEBSOCKET_CLOSE, payload, code == 1005 ? 0 : 2);
}

/* The value of a header, without regard to case; the head ends in a zero byte. */
static Slice
header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);
	size_t len = strlen(name);

	if (at == NULL)
		return (Slice){NULL, 0};
	at += len + strspn(at + len, " ");
	return (Slice){at, strcspn(at, "\r\n")};
}

/* Reads up to the end of the head; what comes behind it stays in rest. */
static bool
handshake(int fd, char *rest, size_t *rest_len)
{
	char head[HEAD_MAX + 1], accept[29], reply[256], *end = NULL;
	size_t have = 0;
	int len;

	while (end == NULL)
	{
		ssize_t n = read(fd, head + have, HEAD_MAX - have);

		if (n <= 0)
			return false;
		have += (size_t) n;
		head[have] = '\0';
		end = strstr(head, "\r\n\r\n");
	}
	*rest_len = have - (size_t) (end + 4 - head);
	memcpy(rest, end + 4, *rest_len);
	end[2] = '\0';
	if (!websocket_accept(header(head, "\nsec-websocket-key:"), accept))
		return false;
	len = snprintf(reply, sizeof(reply),
				   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				   accept);
	return put(fd, reply, (size_t) len);
}

/* false: the connection has ended. */
static bool
answer(int fd, Websocket *ws, const char *data, size_t len)
{
	WebsocketResult result;
	WebsocketOpcode opcode = 0;
	Slice payload = {NULL, 0};
	uint16_t code;

	while ((result = websocket_next(ws, &data, &len, &opcode, &payload)) != WEBSOCKET_MORE)
	{
		bool fine = true;

		if (result == WEBSOCKET_FAILED)
		{
			say_close(fd, ws->close_code);
			return false;
		}
		if (result == WEBSOCKET_MESSAGE)
			fine = say(fd, opcode, payload.data, payload.len);
		else if (opcode == WEBSOCKET_PING)
			fine = say(fd, WEBSOCKET_PONG, payload.data, payload.len);
		else if (opcode == WEBSOCKET_CLOSE)
		{
			(void) websocket_close_code(payload, &code);
			say_close(fd, code);
			return false;
		}
		if (!fine)
			return false;
	}
	return true;
}

static void
serve(int fd)
{
	static char buffer[65536];
	Websocket ws;
	size_t len = 0;

	if (!handshake(fd, buffer, &len))
		return;
	websocket_begin(&ws, MESSAGE_MAX);
	while (answer(fd, &ws, buffer, len))
	{
		ssize_t n = read(fd, buffer, sizeof(buffer));

		if (n <= 0)
			break;
		len = (size_t) n;
	}
	websocket_end(&ws);
	shutdown(fd, SHUT_WR);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		; /* what is unread would make the kernel reset the connection, and our close frame with it */
}

int
main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
								  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd fds[2] = {{.fd = listener, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (listener < 0 || bind(listener, (struct sockaddr *) &address, size) != 0 ||
		listen(listener, 64) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &size) != 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	while (poll(fds, 2, -1) > 0 || errno == EINTR)
	{
		int fd;
		char nothing;

		if (fds[1].revents && read(0, &nothing, 1) <= 0)
			return 0;
		if (!(fds[0].revents & POLLIN) || (fd = accept(listener, NULL, NULL)) < 0)
			continue;
		switch (fork())
		{
			case -1:
				die("fork");
			case 0:
				close(listener);
				serve(fd);
				exit(0);
			default:
				close(fd);
		}
	}
	return 0;
}
