/*
 * gateway/main.c
 *	  usherd: boot order, signals, the end.
 *
 *		configuration ─► journal ─► identity, limits ─► database ─► sockets ─► loop
 *		SIGHUP: read all again     SIGTERM, SIGINT: drain, then end     a second one: end now
 */
#include <ev.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "batch.h"
#include "catalog.h"
#include "config.h"
#include "control.h"
#include "db.h"
#include "fanout.h"
#include "handlers/websocket.h"
#include "identity.h"
#include "journal.h"
#include "limit.h"
#include "listener.h"
#include "live.h"
#include "loop.h"
#include "notify.h"
#include "lib/text.h"
#include "parked.h"
#include "presence.h"
#include "router.h"
#include "signals.h"
#include "usherd.h"

struct ev_loop *usherd_loop;

static struct
{
	ev_signal hangup, terminate, interrupt;
	ev_prepare batches;
	ev_timer drain, watchdog;
	double deadline; /* of the drain; 0: none */
} boot;

/*
 * Chance
 */

static const unsigned char *
random_bytes(size_t n)
{
	static unsigned char pool[4096];
	static size_t left;

	if (left < n)
	{
		if (RAND_bytes(pool, sizeof(pool)) != 1)
			abort();
		left = sizeof(pool);
	}
	left -= n;
	return pool + left;
}

void
usherd_random_hex(char *text, int n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = random_bytes((size_t) (n + 1) / 2);

	for (int i = 0; i < n; i++)
		text[i] = digits[(bytes[i / 2] >> (i % 2 ? 0 : 4)) & 15];
	text[n] = '\0';
}

double
usherd_random(void)
{
	const unsigned char *bytes = random_bytes(4);

	return (bytes[0] | bytes[1] << 8 | bytes[2] << 16) / 16777216.0;
}

/*
 * Signals
 */

static void
reload(struct ev_loop *loop, ev_signal *watcher, int events)
{
	char error[512], restart[512];

	(void) loop, (void) watcher, (void) events;
	notify_reloading();
	if (!config_reload(restart, sizeof(restart)))
	{
		journal_reopen();
		journal(JOURNAL_ERROR, "reload: %s; what was there stays", restart);
		notify_ready();
		return;
	}
	journal_reopen();
	if (restart[0] != '\0')
		journal(JOURNAL_WARNING, "reload: %s", restart);
	if (!identity_load(error, sizeof(error)) || !limit_load(error, sizeof(error)))
		journal(JOURNAL_ERROR, "reload: %s; what was there stays", error);
	else if (!listener_reload_certificate())
		journal(JOURNAL_ERROR,
				"reload: the certificate or the key cannot be used; the old ones stay");
	else
		journal(JOURNAL_INFO, "the configuration was read again");
	notify_ready();
}

bool
usherd_draining(void)
{
	return boot.deadline > 0;
}

/* Ten times a second while draining: is anything still at work? */
static void
drain_some(struct ev_loop *loop, ev_timer *timer, int events)
{
	bool late = ev_now(loop) > boot.deadline;

	(void) timer, (void) events;
	listener_close_idle();
	if (late)
		journal(JOURNAL_WARNING, "%d requests did not end in time", listener_requests());
	/* The reader of the log is always at work, and nobody waits for it any more. */
	if (late || (listener_requests() == 0 && !batch_busy() &&
				 listener_connections() == 0))
		ev_break(loop, EVBREAK_ALL);
}

static void
terminate(struct ev_loop *loop, ev_signal *watcher, int events)
{
	(void) watcher, (void) events;
	if (boot.deadline > 0)
	{
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	journal(JOURNAL_INFO, "draining: %d connections, %d requests in flight", listener_connections(),
			listener_requests());
	notify_stopping();
	boot.deadline = ev_now(loop) + config.drain_timeout_seconds;
	listener_stop_accepting();
	live_drain();
	listener_close_idle(); /* from now on a reply ends its connection */
	parked_drain();
	ev_timer_init(&boot.drain, drain_some, 0, 0.1);
	ev_timer_start(loop, &boot.drain);
}

/* At the end of each round of the loop, before it sleeps: what has gathered goes out. */
static void
round_ends(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	(void) loop, (void) watcher, (void) events;
	batch_flush();
}

/* The loop turns: systemd need not start us again. */
static void
still_alive(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	notify_watchdog();
}

/*
 * Start
 */

static void
fail(const char *what)
{
	fprintf(stderr, "usherd: %s\n", what);
	exit(1);
}

static void
watch_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&boot.hangup, reload, SIGHUP);
	ev_signal_init(&boot.terminate, terminate, SIGTERM);
	ev_signal_init(&boot.interrupt, terminate, SIGINT);
	ev_signal_start(usherd_loop, &boot.hangup);
	ev_signal_start(usherd_loop, &boot.terminate);
	ev_signal_start(usherd_loop, &boot.interrupt);
}

/* A descriptor for each connection. */
static void
raise_descriptors(void)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t) config.connections_max + 256;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		journal(JOURNAL_WARNING, "only %ld descriptors for %d connections", (long) limit.rlim_cur,
				config.connections_max);
}

/* What the flags ask for instead of serving. */
static int
act(ConfigAction action)
{
	char error[512];

	if (action == CONFIG_PRINT)
		config_print();
	else if (action == CONFIG_LIST)
		config_list();
	else if (action == CONFIG_HELP)
		config_help();
	else if (!identity_load(error, sizeof(error)) || !limit_load(error, sizeof(error)))
		fail(error);
	else
		puts("the configuration is right");
	return 0;
}

int
main(int argc, char **argv)
{
	char error[512];
	ConfigAction action;

	if (argc > 1 && (strcmp(argv[1], "token") == 0 || strcmp(argv[1], "keygen") == 0))
		return token_main(argc - 1, argv + 1);
	if (!config_load(argc, argv, &action, error, sizeof(error)))
		fail(error);
	if (action != CONFIG_RUN)
		return act(action);
	notify_start();
	usherd_loop = ev_default_loop(EVFLAG_NOSIGMASK);
	journal_start();
	if (!identity_load(error, sizeof(error)) || !limit_load(error, sizeof(error)))
		fail(error);
	raise_descriptors();
	watch_signals();
	control_start();
	fanout_start();
	catalog_start();
	live_start();
	signals_start();
	presence_start(socket_deliver);
	db_start(usherd_loop);
	if (!listener_start(usherd_loop, error, sizeof(error)))
		fail(error);
	ev_prepare_init(&boot.batches, round_ends);
	ev_prepare_start(usherd_loop, &boot.batches);
	loop_start();
	if (notify_watchdog_seconds() > 0)
	{
		ev_timer_init(&boot.watchdog, still_alive, 0, notify_watchdog_seconds());
		ev_timer_start(usherd_loop, &boot.watchdog);
	}
	journal(JOURNAL_INFO, "usherd %s is ready", USHERD_VERSION);
	notify_ready();
	ev_run(usherd_loop, 0);
	db_stop();
	listener_stop();
	journal(JOURNAL_INFO, "usherd ends");
	journal_stop();
	return 0;
}
