/*
 * test/unit/notify.c
 *	  What systemd is told, on sockets of both kinds of name.
 *
 * unit sources: gateway/notify.c
 */
#include "notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tap.h"

static int
listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	size_t len = strlen(name);

	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	if (bind(fd, (struct sockaddr *) &address,
			 (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len)) != 0)
		return -1;
	return fd;
}

static bool
heard(int fd, const char *expected)
{
	char message[500];
	ssize_t n = recv(fd, message, sizeof(message) - 1, 0);

	message[n > 0 ? n : 0] = '\0';
	return n > 0 && strstr(message, expected) != NULL;
}

static void
check(const char *name)
{
	int fd = listen_at(name);
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", (int) getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	notify_start();
	notify_ready();
	ok(heard(fd, "READY=1\n"), "ready");
	notify_reloading();
	ok(heard(fd, "RELOADING=1\nMONOTONIC_USEC="), "reloading");
	notify_stopping();
	ok(heard(fd, "STOPPING=1\n"), "stopping");
	notify_status("%d connections", 7);
	ok(heard(fd, "STATUS=7 connections"), "status");
	ok(notify_watchdog_seconds() == 1.5, "half of the watchdog's time");
	notify_watchdog();
	ok(heard(fd, "WATCHDOG=1"), "watchdog");
	ok(getenv("NOTIFY_SOCKET") == NULL && getenv("WATCHDOG_USEC") == NULL,
	   "children do not inherit it");
	/* Nobody reads any more: it must not block, nor end the process. */
	for (int i = 0; i < 10000; i++)
		notify_watchdog();
	close(fd);
	notify_ready();
	ok(true, "a reader that has gone");
}

int
main(void)
{
	char path[] = "/tmp/usherd-notify-XXXXXX", name[50];

	notify_start();
	notify_ready();
	ok(notify_watchdog_seconds() == 0, "nothing without systemd");
	setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
	notify_start();
	notify_ready();
	ok(true, "a socket that does not exist");
	close(mkstemp(path));
	unlink(path);
	check(path);
	unlink(path);
	snprintf(name, sizeof(name), "@usherd-notify-%d", (int) getpid());
	check(name);
	return tap_end();
}
