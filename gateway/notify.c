/*
 * gateway/notify.c
 *	  What systemd is told (sd_notify's protocol), without its library.
 *
 * One datagram a message to the socket that NOTIFY_SOCKET names; a name that
 * begins with "@" is in the abstract namespace.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "notify.h"

static int notify_socket = -1;
static double watchdog_seconds;

static void
tell(const char *message)
{
	if (notify_socket >= 0)
		(void) send(notify_socket, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
read_watchdog(void)
{
	const char *microseconds = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	double number = microseconds ? strtod(microseconds, NULL) : 0;

	if (number > 0 && (pid == NULL || strtol(pid, NULL, 10) == (long) getpid()))
		watchdog_seconds = number / 1e6 / 2;
}

void
notify_start(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = name ? strlen(name) : 0;

	if (notify_socket >= 0)
		close(notify_socket);
	notify_socket = -1;
	watchdog_seconds = 0;
	if (len < 2 || len >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	notify_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify_socket >= 0 &&
		connect(notify_socket, (struct sockaddr *) &address,
				(socklen_t) (offsetof(struct sockaddr_un, sun_path) + len)) != 0)
	{
		close(notify_socket);
		notify_socket = -1;
	}
	if (notify_socket >= 0)
		read_watchdog();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_ready(void)
{
	tell("READY=1\nSTATUS=serving");
}

void
notify_reloading(void)
{
	struct timespec now;
	char message[100];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(message, sizeof(message),
			 "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reading the configuration",
			 (long long) now.tv_sec * 1000000 + now.tv_nsec / 1000);
	tell(message);
}

void
notify_stopping(void)
{
	tell("STOPPING=1\nSTATUS=draining");
}

void
notify_status(const char *format, ...)
{
	char message[300] = "STATUS=";
	va_list args;

	va_start(args, format);
	vsnprintf(message + 7, sizeof(message) - 7, format, args);
	va_end(args);
	tell(message);
}

double
notify_watchdog_seconds(void)
{
	return watchdog_seconds;
}

void
notify_watchdog(void)
{
	tell("WATCHDOG=1");
}
