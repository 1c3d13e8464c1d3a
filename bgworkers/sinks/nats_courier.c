/*
 * bgworkers/sinks/nats_courier.c
 *	  The thread that talks to the server: connects, then carries messages and answers.
 *
 * It blocks all signals, and so do the threads that libnats makes from within:
 * in a PostgreSQL worker signals are the main thread's.  One signal is let
 * through, INTERRUPT, which does nothing but end a system call that waits:
 * a TLS handshake of libnats knows no timeout.
 */
#include "sinks/nats.h"
#include "sinks/transport.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INTERRUPT    (SIGRTMIN + 7)
#define INTERRUPT_MS 20
#define STOP_MS      900
#define EXIT_MS      2000

/* Couriers whose sink has been closed while they connected. */
static int left_alone;
/* Which of several servers is tried next; moves on when one fails. */
static int next_server;

/* ---- life ---- */

void
nats_courier_release(NatsCourier *c)
{
	if (__atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (int i = 0; i < c->nsubjects; i++)
		free(c->subjects[i]);
	for (int i = 0; i < c->nrefused; i++)
		free(c->refused[i]);
	for (size_t i = 0; i < c->answers.count; i++)
		free(c->answers.list[i].text);
	for (size_t i = 0; i < c->answered.count; i++)
		free(c->answered.list[i].text);
	free(c->answers.list);
	free(c->answered.list);
	free(c->handed.list);
	free(c->waiting.list);
	free(c->flying);
	free(c->known);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	if (c->told_fd >= 0)
		close(c->told_fd);
	nats_config_free(&c->config);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void
ring(int fd)
{
	uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));

	(void) written; /* full: it is readable then */
}

static void
silence(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	(void) got; /* nothing: it was silent */
}

void
nats_courier_wake(NatsCourier *c)
{
	ring(c->wake_fd);
}

void
nats_courier_progress(NatsCourier *c)
{
	__atomic_store_n(&c->progress_ms, usher_clock_ms(), __ATOMIC_RELAXED);
}

/* ---- endings ---- */

void
nats_broken(NatsCourier *c, UsherSinkResult result, const char *code, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&c->lock);
	if (c->stage != NATS_BROKEN)
	{
		c->stage = NATS_BROKEN;
		c->result = result;
		snprintf(c->code, sizeof(c->code), "%s", code);
		va_start(args, format);
		vsnprintf(c->text, sizeof(c->text), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&c->lock);
	ring(c->told_fd);
}

void
nats_broken_status(NatsCourier *c, const char *what, natsStatus status)
{
	nats_broken(c, SINK_LOST, nats_status_code(status), "NATS: %s: %s", what, nats_last_text());
}

/* ---- connecting ---- */

static bool
set_ready(NatsCourier *c)
{
	bool go_on;

	pthread_mutex_lock(&c->lock);
	if (c->stage == NATS_CONNECTING && !c->stop)
		c->stage = NATS_READY;
	go_on = c->stage == NATS_READY && !c->stop;
	pthread_mutex_unlock(&c->lock);
	if (go_on)
		ring(c->told_fd);
	return go_on;
}

static bool
connect_all(NatsCourier *c)
{
	int server = __atomic_load_n(&next_server, __ATOMIC_RELAXED) % c->config.nservers;

	if (!nats_link_prepare(c, server) || !nats_link_open(c, server))
		return false;
	return set_ready(c);
}

/* ---- the loop ---- */

static void
answers_append(NatsCourier *c)
{
	NatsAnswers swapped;
	bool empty;

	if (c->answered.count == 0)
		return;
	pthread_mutex_lock(&c->lock);
	empty = c->answers.count == 0;
	if (empty)
	{
		swapped = c->answers;
		c->answers = c->answered;
		c->answered = swapped;
	}
	else
	{
		size_t want = c->answers.count + c->answered.count;

		if (want > c->answers.size)
		{
			NatsAnswer *list = realloc(c->answers.list, 2 * want * sizeof(NatsAnswer));

			if (list == NULL)
			{
				pthread_mutex_unlock(&c->lock);
				return; /* next time */
			}
			c->answers.list = list;
			c->answers.size = 2 * want;
		}
		memcpy(c->answers.list + c->answers.count, c->answered.list,
			   c->answered.count * sizeof(NatsAnswer));
		c->answers.count = want;
	}
	c->answered.count = 0;
	pthread_mutex_unlock(&c->lock);
	if (empty)
		ring(c->told_fd);
}

/* New messages; false: stop. */
static bool
take_handed(NatsCourier *c)
{
	bool go_on, ok = true;

	pthread_mutex_lock(&c->lock);
	go_on = !c->stop && c->stage == NATS_READY;
	if (go_on && c->handed.count > 0)
		ok = nats_messages_add(&c->waiting, c->handed.list, c->handed.count);
	c->handed.count = 0;
	pthread_mutex_unlock(&c->lock);
	if (!ok)
		nats_broken(c, SINK_LOST, "MEMORY", "out of memory");
	return go_on && ok;
}

/* Nobody needs to wake a courier that does not sleep. */
static bool
fall_asleep(NatsCourier *c)
{
	if (c->waiting_first < c->waiting.count && !c->want_write && c->outstanding < NATS_FLYING_MAX)
		return false;
	pthread_mutex_lock(&c->lock);
	c->sleeping = !c->stop && c->handed.count == 0 && c->nrefused == 0 && c->stage == NATS_READY;
	pthread_mutex_unlock(&c->lock);
	return c->sleeping;
}

static void
wait_for_work(NatsCourier *c)
{
	struct pollfd fds[2] = {
		{c->wake_fd, POLLIN, 0},
		{c->socket, (short) (POLLIN | POLLRDHUP | (c->want_write ? POLLOUT : 0)), 0},
	};
	bool sleeps = fall_asleep(c);
	int ready = poll(fds, 2, sleeps ? -1 : 0);

	if (sleeps)
	{
		pthread_mutex_lock(&c->lock);
		c->sleeping = false;
		pthread_mutex_unlock(&c->lock);
	}
	if (ready < 0 && errno != EINTR)
		nats_broken(c, SINK_LOST, "CONNECTION", "poll: error %d", errno);
	if (ready <= 0)
		return;
	if (fds[0].revents != 0)
		silence(c->wake_fd);
	if (fds[1].revents & (POLLIN | POLLRDHUP | POLLHUP | POLLERR))
		nats_link_read(c);
}

static void
carry(NatsCourier *c)
{
	while (take_handed(c))
	{
		nats_take_refusals(c);
		nats_publish_waiting(c);
		if (c->want_write)
			natsConnection_ProcessWriteEvent(c->connection);
		answers_append(c);
		if (nats_link_ended(c))
			return;
		wait_for_work(c);
	}
}

static void *
courier_main(void *arg)
{
	NatsCourier *c = arg;
	sigset_t interrupt;
	bool alone;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, INTERRUPT);
	pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
	if (connect_all(c))
		carry(c);
	nats_link_close(c);
	nats_ReleaseThreadMemory();
	pthread_mutex_lock(&c->lock);
	if (c->stage == NATS_BROKEN)
		__atomic_add_fetch(&next_server, 1, __ATOMIC_RELAXED);
	c->ended = true;
	alone = c->alone;
	pthread_mutex_unlock(&c->lock);
	ring(c->told_fd);
	nats_courier_release(c);
	if (alone)
		__atomic_sub_fetch(&left_alone, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- for the sink ---- */

static void
sleep_ms(int ms)
{
	(void) poll(NULL, 0, ms);
}

/* A thread that is within OpenSSL while exit() takes it down would end badly. */
static void
wait_at_exit(void)
{
	int64_t until = usher_clock_ms() + EXIT_MS;

	while (__atomic_load_n(&left_alone, __ATOMIC_ACQUIRE) > 0 && usher_clock_ms() < until)
		sleep_ms(5);
}

static void
interrupted(int number)
{
	(void) number;
}

static bool
start_thread(NatsCourier *c)
{
	static bool prepared;
	sigset_t all, before;
	struct sigaction action = {.sa_handler = interrupted}; /* without SA_RESTART */
	bool ok;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* libnats makes threads here, and is the first to be cleaned up at exit. */
	ok = nats_Open(-1) == NATS_OK;
	if (ok && !prepared)
		prepared = sigaction(INTERRUPT, &action, NULL) == 0 && atexit(wait_at_exit) == 0;
	c->references++;
	ok = ok && prepared && pthread_create(&c->thread, NULL, courier_main, c) == 0;
	if (!ok)
		c->references--;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	c->started = ok;
	return ok;
}

NatsCourier *
nats_courier_start(const UsherSinkContext *context, char *error, size_t size)
{
	NatsCourier *c = calloc(1, sizeof(NatsCourier));

	error[0] = '\0';
	if (c == NULL)
	{
		snprintf(error, size, "out of memory");
		return NULL;
	}
	c->references = 1;
	c->socket = -1;
	nats_courier_progress(c);
	pthread_mutex_init(&c->lock, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!nats_config_read(context, &c->config, error, size))
		nats_broken(c, SINK_BLOCKED, "CONFIG", "%s", error);
	else if (c->wake_fd < 0 || c->told_fd < 0 || !start_thread(c))
		nats_broken(c, SINK_LOST, "MEMORY", "cannot start a thread");
	return c;
}

/*
 * Told to stop, it ends at once: what it waits for is interrupted, except for a
 * name server and for answers to its questions.  Then it has no messages yet,
 * and is left alone.
 */
void
nats_courier_stop(NatsCourier *c)
{
	int64_t until = usher_clock_ms() + STOP_MS;
	bool ended = !c->started, alone = false;

	pthread_mutex_lock(&c->lock);
	c->stop = true;
	if (c->socket >= 0)
		(void) shutdown(c->socket, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
	if (c->started)
		nats_courier_wake(c);
	while (!ended && !alone)
	{
		pthread_mutex_lock(&c->lock);
		ended = c->ended;
		if (!ended && c->stage != NATS_READY && usher_clock_ms() >= until)
		{
			alone = c->alone = true;
			__atomic_add_fetch(&left_alone, 1, __ATOMIC_RELAXED);
		}
		pthread_mutex_unlock(&c->lock);
		if (!ended && !alone)
		{
			(void) pthread_kill(c->thread, INTERRUPT);
			silence(c->told_fd);
			(void) poll(&(struct pollfd){c->told_fd, POLLIN, 0}, 1, INTERRUPT_MS);
		}
	}
	if (alone)
		pthread_detach(c->thread);
	else if (c->started)
		pthread_join(c->thread, NULL);
	nats_courier_release(c);
}
