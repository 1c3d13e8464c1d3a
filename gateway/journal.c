/*
 * gateway/journal.c
 *	  The access log and the error log: one JSON object a line, written by a thread for each.
 *
 * A log is a ring of bytes.  The loop copies whole lines into it under a lock
 * that is held for the copying alone; the thread takes what is there, and writes
 * it without the lock.  It gathers for some milliseconds, so the loop wakes it a
 * few times a second and not with every line; a full half of the ring, a message
 * of level error and the end wake it at once.  A pipe that nobody reads, or a
 * disk that is full, stops the thread and never the loop: lines that find no
 * room are counted and dropped, and the log says how many.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "journal.h"
#include "lib/text.h"

#define GATHER_NS      20000000
#define STUCK_MS       200 /* how often a thread that cannot write looks whether it shall end */
#define STOP_SECONDS   2 /* how long a stuck log may hold up the end */
#define MESSAGE_MAX    4000
#define WRITE_MAX      65536
#define PIPE_WRITE_MAX 4096 /* PIPE_BUF: poll() promises room for that much */

typedef struct Log
{
	const char *setting;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under the lock */
	char *ring;
	size_t size, start, used;
	char *path; /* "-", a file, or "" */
	bool reopen, urgent, asleep, stop;
	int64_t dropped; /* not told yet */
	/* the loop's */
	bool started;
	int64_t dropped_ever;
	/* the thread's */
	int fd;
	bool ours; /* to be closed */
} Log;

static Log access_journal = {.setting = "access_log", .fd = -1};
static Log error_journal = {.setting = "error_log", .fd = -1};
static JournalLevel least = JOURNAL_INFO;
static _Thread_local Text line;

static const char *const levels[] = {"debug", "info", "warning", "error"};

/*
 * Lines
 */

/* {"time":"2026-01-02T03:04:05.678901Z" */
static void
line_begin(void)
{
	static _Thread_local time_t second;
	static _Thread_local char text[32];
	struct timespec now;
	struct tm parts;
	char fraction[] = ".000000Z";
	long rest;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != second || text[0] == '\0')
	{
		second = now.tv_sec;
		gmtime_r(&second, &parts);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	}
	line.len = 0;
	text_puts(&line, "{\"time\":\"");
	text_puts(&line, text);
	rest = now.tv_nsec / 1000;
	for (int i = 6; i > 0; i--, rest /= 10)
		fraction[i] = (char) ('0' + rest % 10);
	text_puts(&line, fraction);
	text_char(&line, '"');
}

/* name: with quotes, colon and the comma in front. */
static inline void
line_slice(const char *name, Slice value)
{
	text_puts(&line, name);
	text_json(&line, value.data, value.len < MESSAGE_MAX ? value.len : MESSAGE_MAX);
}

static inline void
line_text(const char *name, const char *value)
{
	line_slice(name, (Slice){value, strlen(value)});
}

/* With six digits behind the point. */
static void
line_seconds(double seconds)
{
	int64_t us = seconds > 0 ? (int64_t) (seconds * 1e6 + 0.5) : 0;
	char digits[] = ".000000";

	text_puts(&line, ",\"seconds\":");
	text_int(&line, us / 1000000);
	for (int i = 6; i > 0; i--, us /= 10)
		digits[i] = (char) ('0' + us % 10);
	text_puts(&line, digits);
}

static void
line_message(JournalLevel level, const char *message)
{
	line_begin();
	line_text(",\"level\":", levels[level]);
	line_text(",\"message\":", message);
	text_puts(&line, "}\n");
}

/*
 * The ring
 */

/* With the lock. false: no room. */
static bool
ring_add(Log *log, const char *data, size_t len)
{
	size_t end, first;

	if (len > log->size - log->used)
		return false;
	end = (log->start + log->used) % log->size;
	first = len < log->size - end ? len : log->size - end;
	memcpy(log->ring + end, data, first);
	memcpy(log->ring, data + first, len - first);
	log->used += len;
	return true;
}

static void
add_line(Log *log, bool urgent)
{
	bool wake;

	pthread_mutex_lock(&log->lock);
	if (log->path[0] == '\0')
	{
		pthread_mutex_unlock(&log->lock);
		return;
	}
	if (!ring_add(log, line.data, line.len))
	{
		log->dropped++;
		log->dropped_ever++;
	}
	log->urgent |= urgent || log->used > log->size / 2;
	/* Once it is awake it will find this line. */
	wake = log->asleep || log->urgent;
	log->asleep = false;
	pthread_mutex_unlock(&log->lock);
	if (wake)
		pthread_cond_signal(&log->wake);
}

/*
 * The writing thread
 */

static bool
stopping(Log *log)
{
	bool stop;

	pthread_mutex_lock(&log->lock);
	stop = log->stop || log->reopen;
	pthread_mutex_unlock(&log->lock);
	return stop;
}

/* All of it, unless the log is stopped or given another file meanwhile; returns how much. */
static size_t
write_out(Log *log, const char *data, size_t len)
{
	struct stat stat;
	size_t done = 0;
	bool file = log->fd < 0 || (fstat(log->fd, &stat) == 0 && S_ISREG(stat.st_mode));

	while (done < len && log->fd >= 0)
	{
		size_t most = file ? WRITE_MAX : PIPE_WRITE_MAX;
		struct pollfd ready = {log->fd, POLLOUT, 0};
		ssize_t n;

		if (!file && poll(&ready, 1, STUCK_MS) <= 0)
		{
			if (stopping(log))
				return done;
			continue;
		}
		n = write(log->fd, data + done, len - done < most ? len - done : most);
		if (n > 0)
		{
			done += (size_t) n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* A full disk, or a reader that has gone: wait a little and try again. */
		poll(NULL, 0, STUCK_MS);
		if (stopping(log))
			return done;
	}
	return len;
}

/* Without the lock. */
static void
open_file(Log *log, const char *path)
{
	if (log->ours && log->fd >= 0)
		close(log->fd);
	log->ours = false;
	log->fd = -1;
	if (strcmp(path, "-") == 0)
		log->fd = STDERR_FILENO;
	else if (path[0] != '\0')
	{
		log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
		log->ours = log->fd >= 0;
		if (log->fd < 0)
		{
			/* The reason must stand somewhere: standard error. */
			fprintf(stderr, "usherd: could not open %s \"%s\": %s\n", log->setting, path,
					strerror(errno));
			log->fd = STDERR_FILENO;
		}
	}
}

/* With the lock; waits until there is something to do. */
static void
wait_for_work(Log *log)
{
	struct timespec until;

	while (log->used == 0 && log->dropped == 0 && !log->stop && !log->reopen)
	{
		log->asleep = true;
		pthread_cond_wait(&log->wake, &log->lock);
	}
	log->asleep = false;
	if (log->stop || log->reopen || log->urgent)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_NS;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (!log->stop && !log->reopen && !log->urgent &&
		   pthread_cond_timedwait(&log->wake, &log->lock, &until) == 0)
		;
}

static void
tell_dropped(Log *log, int64_t dropped)
{
	line_begin();
	text_printf(
		&line, ",\"level\":\"warning\",\"message\":\"%lld lines were dropped\",\"dropped\":%lld}\n",
		(long long) dropped, (long long) dropped);
	(void) write_out(log, line.data, line.len);
}

static void *
write_lines(void *argument)
{
	Log *log = argument;
	bool stop = false;

	pthread_mutex_lock(&log->lock);
	while (!stop || (log->used > 0 && log->fd >= 0))
	{
		size_t n, done;
		int64_t dropped = 0;

		if (!stop)
			wait_for_work(log);
		if (log->reopen)
		{
			char *path = strdup(log->path);

			log->reopen = false;
			pthread_mutex_unlock(&log->lock);
			open_file(log, path ? path : "-");
			free(path);
			pthread_mutex_lock(&log->lock);
			continue;
		}
		stop = log->stop;
		log->urgent = false;
		n = log->used < log->size - log->start ? log->used : log->size - log->start;
		pthread_mutex_unlock(&log->lock);
		/* Only this thread moves the start: what lies there stays. */
		done = write_out(log, log->ring + log->start, n);
		pthread_mutex_lock(&log->lock);
		log->start = (log->start + done) % log->size;
		log->used -= done;
		if (stop && done < n)
			break;
		if (log->used == 0 || done == n)
		{
			dropped = log->dropped;
			log->dropped = 0;
		}
		/* Between whole lines only: the ring's end may cut one. */
		if (dropped > 0 && log->start != 0)
		{
			pthread_mutex_unlock(&log->lock);
			tell_dropped(log, dropped);
			pthread_mutex_lock(&log->lock);
		}
		else
			log->dropped += dropped;
	}
	if (log->dropped > 0 && log->used == 0)
		tell_dropped(log, log->dropped);
	pthread_mutex_unlock(&log->lock);
	text_free(&line);
	return NULL;
}

/*
 * Beginning and end
 */

static void
log_start(Log *log, const char *path)
{
	pthread_condattr_t attributes;
	sigset_t all, before;

	log->size = (size_t) config.journal_buffer_bytes;
	log->ring = malloc(log->size);
	log->path = strdup(path);
	if (log->ring == NULL || log->path == NULL)
		abort();
	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	open_file(log, path);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	log->started = pthread_create(&log->thread, NULL, write_lines, log) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!log->started)
		fprintf(stderr, "usherd: no thread for %s\n", log->setting);
}

static void
set_level(void)
{
	for (int i = JOURNAL_DEBUG; i <= JOURNAL_ERROR; i++)
		if (strcmp(config.log_level, levels[i]) == 0)
			least = (JournalLevel) i;
}

void
journal_start(void)
{
	set_level();
	log_start(&access_journal, config.access_log);
	log_start(&error_journal, config.error_log);
}

static void
log_reopen(Log *log, const char *path)
{
	char *copy, *old;

	if (!log->started)
		return;
	copy = strdup(path);
	if (copy == NULL)
		abort();
	pthread_mutex_lock(&log->lock);
	old = log->path;
	log->path = copy;
	log->reopen = true;
	pthread_mutex_unlock(&log->lock);
	free(old);
	pthread_cond_signal(&log->wake);
}

void
journal_reopen(void)
{
	set_level();
	log_reopen(&access_journal, config.access_log);
	log_reopen(&error_journal, config.error_log);
}

static void
log_stop(Log *log)
{
	struct timespec until;

	if (!log->started)
		return;
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_mutex_unlock(&log->lock);
	pthread_cond_signal(&log->wake);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_SECONDS;
	log->started = false;
	/* A thread that hangs in a write ends with the process; its memory stays until then. */
	if (pthread_timedjoin_np(log->thread, NULL, &until) != 0)
		return;
	if (log->ours && log->fd >= 0)
		close(log->fd);
	free(log->ring);
	free(log->path);
	log->ring = log->path = NULL;
	log->used = log->start = 0;
	log->fd = -1;
	log->ours = log->stop = log->reopen = log->urgent = false;
	pthread_mutex_destroy(&log->lock);
	pthread_cond_destroy(&log->wake);
}

void
journal_stop(void)
{
	log_stop(&access_journal);
	log_stop(&error_journal);
	text_free(&line);
}

void
journal(JournalLevel level, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;

	if (level < least)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	line_message(level, message);
	if (error_journal.started)
		add_line(&error_journal, level == JOURNAL_ERROR);
	else
		fputs(line.data, stderr);
}

void
journal_access(const JournalAccess *a)
{
	if (!access_journal.started || config.access_log[0] == '\0')
		return;
	line_begin();
	line_text(",\"request_id\":", a->request_id);
	/* 00-<trace id>-<parent id>-<flags> */
	if (strlen(a->traceparent) >= 55)
	{
		text_puts(&line, ",\"trace_id\":");
		text_json(&line, a->traceparent + 3, 32);
	}
	line_slice(",\"method\":", a->method);
	line_slice(",\"path\":", a->path);
	line_text(",\"route\":", a->route);
	text_puts(&line, ",\"status\":");
	text_int(&line, a->status);
	text_puts(&line, ",\"bytes\":");
	text_int(&line, a->bytes);
	line_seconds(a->seconds);
	line_text(",\"address\":", a->address);
	line_text(",\"tenant\":", a->tenant);
	line_text(",\"user\":", a->user);
	text_puts(&line, "}\n");
	add_line(&access_journal, false);
}

int64_t
journal_dropped(void)
{
	return access_journal.dropped_ever + error_journal.dropped_ever;
}
