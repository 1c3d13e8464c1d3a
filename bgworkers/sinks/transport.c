/*
 * bgworkers/sinks/transport.c
 *	  A TCP connection that never blocks, with or without TLS.
 *
 *	  RESOLVING (a thread) -> CONNECTING (address after address) -> TLS -> CONNECTED
 *
 * The resolver's thread and we share a Lookup; whoever lets go of it last frees
 * it, so that closing never waits for a name server.  Threads block all
 * signals: in a PostgreSQL worker these are the main thread's.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* GNU's strerror_r */
#endif
#include "sinks/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEEPALIVE_S 30
#define CHUNK_MAX   (1 << 30)

typedef struct Lookup
{
	int references; /* atomic */
	int done_fd; /* readable when the answer is there */
	int error; /* of getaddrinfo */
	struct addrinfo *addresses;
	char host[256], port[16];
} Lookup;

typedef enum Phase
{
	RESOLVING,
	CONNECTING,
	HANDSHAKE,
	CONNECTED
} Phase;

typedef struct TransportState
{
	UsherTransportOptions options;
	Phase phase;
	int64_t deadline_ms; /* of the whole */
	int64_t address_deadline_ms; /* then the next address is tried */
	Lookup *lookup;
	struct addrinfo *address; /* the one at hand */
	SSL_CTX *context;
	SSL *ssl;
} TransportState;

int64_t
usher_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
failed(UsherTransport *t, const char *what, const char *why)
{
	snprintf(t->error, sizeof(t->error), "%s%s%s", what, why[0] ? ": " : "", why);
	return -1;
}

static int
failed_errno(UsherTransport *t, const char *what, int error)
{
	char text[128];

	return failed(t, what, strerror_r(error, text, sizeof(text)));
}

/* ---- names ---- */

static void
lookup_release(Lookup *lookup)
{
	if (lookup == NULL || __atomic_sub_fetch(&lookup->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (lookup->addresses)
		freeaddrinfo(lookup->addresses);
	if (lookup->done_fd >= 0)
		close(lookup->done_fd);
	free(lookup);
}

static int
lookup_run(Lookup *lookup, int flags)
{
	struct addrinfo hints = {0};

	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = flags;
	return getaddrinfo(lookup->host, lookup->port, &hints, &lookup->addresses);
}

static void *
lookup_main(void *arg)
{
	Lookup *lookup = arg;
	uint64_t one = 1;

	lookup->error = lookup_run(lookup, AI_ADDRCONFIG);
	if (write(lookup->done_fd, &one, sizeof(one)) < 0)
		lookup->error = EAI_SYSTEM; /* cannot happen: the counter is far from its end */
	lookup_release(lookup);
	return NULL;
}

static bool
thread_start(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_detach(thread);
	return error == 0;
}

/* 1: the addresses are there, 0: a thread looks for them, -1: failed. */
static int
lookup_begin(UsherTransport *t, TransportState *s)
{
	Lookup *lookup = calloc(1, sizeof(Lookup));

	if (lookup == NULL)
		return failed(t, "out of memory", "");
	lookup->references = 1;
	lookup->done_fd = -1;
	s->lookup = lookup;
	if (strlen(s->options.host) >= sizeof(lookup->host) ||
		strlen(s->options.port) >= sizeof(lookup->port))
		return failed(t, "host or port is too long", "");
	strcpy(lookup->host, s->options.host);
	strcpy(lookup->port, s->options.port);
	if (lookup_run(lookup, AI_NUMERICHOST) == 0)
		return 1;
	lookup->addresses = NULL;
	lookup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lookup->done_fd < 0)
		return failed_errno(t, "cannot look up the host", errno);
	lookup->references = 2;
	if (!thread_start(lookup_main, lookup))
	{
		lookup->references = 1;
		return failed(t, "cannot start a thread", "");
	}
	return 0;
}

/* ---- TLS ---- */

static int
failed_tls(UsherTransport *t, const char *what)
{
	const TransportState *s = t->state;
	long verified = s->ssl ? SSL_get_verify_result(s->ssl) : X509_V_OK;
	unsigned long error = ERR_peek_last_error();
	char text[160];

	if (verified != X509_V_OK)
		snprintf(text, sizeof(text), "%s", X509_verify_cert_error_string(verified));
	else if (error != 0)
		ERR_error_string_n(error, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "the peer closed the connection");
	ERR_clear_error();
	return failed(t, what, text);
}

static bool
tls_configure(UsherTransport *t, TransportState *s)
{
	const UsherTransportOptions *o = &s->options;
	unsigned char address[16];
	bool ok;

	ERR_clear_error();
	s->context = SSL_CTX_new(TLS_client_method());
	if (s->context == NULL)
		return failed_tls(t, "TLS") > 0;
	SSL_CTX_set_min_proto_version(s->context, TLS1_2_VERSION);
	SSL_CTX_set_mode(s->context,
					 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, NULL);
	if (o->ca_file ? SSL_CTX_load_verify_locations(s->context, o->ca_file, NULL) != 1
				   : SSL_CTX_set_default_verify_paths(s->context) != 1)
		return failed_tls(t, "the trusted certificates cannot be read") > 0;
	if (o->cert_file && SSL_CTX_use_certificate_chain_file(s->context, o->cert_file) != 1)
		return failed_tls(t, "our certificate cannot be read") > 0;
	if (o->cert_file &&
		SSL_CTX_use_PrivateKey_file(s->context, o->key_file ? o->key_file : o->cert_file,
									SSL_FILETYPE_PEM) != 1)
		return failed_tls(t, "our certificate's key cannot be read") > 0;
	s->ssl = SSL_new(s->context);
	if (s->ssl == NULL)
		return failed_tls(t, "TLS") > 0;
	if (inet_pton(AF_INET, o->host, address) == 1 || inet_pton(AF_INET6, o->host, address) == 1)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), o->host) == 1;
	else
		ok = SSL_set1_host(s->ssl, o->host) == 1 && SSL_set_tlsext_host_name(s->ssl, o->host) == 1;
	SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return ok ? true : failed_tls(t, "TLS") > 0;
}

/* What an SSL call that did not succeed means: 0 try again, -1 failed. */
static int
tls_result(UsherTransport *t, int result, const char *what)
{
	switch (SSL_get_error(t->state->ssl, result))
	{
		case SSL_ERROR_WANT_READ:
			t->want_write = false;
			return 0;
		case SSL_ERROR_WANT_WRITE:
			t->want_write = true;
			return 0;
		case SSL_ERROR_ZERO_RETURN:
			return failed(t, "the peer closed the connection", "");
		case SSL_ERROR_SYSCALL:
			if (errno != 0 && ERR_peek_error() == 0)
				return failed_errno(t, what, errno);
			/* fallthrough */
		default:
			return failed_tls(t, what);
	}
}

static int
tls_begin(UsherTransport *t, TransportState *s)
{
	s->phase = HANDSHAKE;
	if (SSL_set_fd(s->ssl, t->fd) != 1)
		return failed_tls(t, "TLS");
	return 0;
}

static int
tls_handshake(UsherTransport *t, TransportState *s)
{
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_connect(s->ssl);
	if (result == 1)
	{
		s->phase = CONNECTED;
		t->want_write = false;
		return 1;
	}
	return tls_result(t, result, "TLS handshake");
}

/* ---- TCP ---- */

static void
socket_close(UsherTransport *t)
{
	if (t->fd >= 0 && t->state->phase != RESOLVING)
		close(t->fd);
	t->fd = -1;
}

static void
socket_options(int fd)
{
	int on = 1, idle = KEEPALIVE_S, interval = KEEPALIVE_S / 3, count = 3;

	/* Whether or not they are taken, it works. */
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Begin with the address at hand, or the next one that can be tried. */
static int
tcp_begin(UsherTransport *t, TransportState *s)
{
	for (; s->address; s->address = s->address->ai_next)
	{
		const struct addrinfo *a = s->address;
		int left = 1;
		int64_t now = usher_clock_ms();

		for (const struct addrinfo *next = a->ai_next; next; next = next->ai_next)
			left++;
		s->address_deadline_ms = now + (s->deadline_ms - now) / left;
		s->phase = CONNECTING;
		t->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
		if (t->fd >= 0)
		{
			socket_options(t->fd);
			t->want_write = true;
			if (connect(t->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)
				return 0;
		}
		(void) failed_errno(t, "cannot connect", errno);
		socket_close(t);
	}
	if (t->error[0] == '\0')
		(void) failed(t, "cannot connect", "the host has no address");
	return -1;
}

static int
tcp_next(UsherTransport *t, TransportState *s, int error)
{
	(void) failed_errno(t, "cannot connect", error);
	socket_close(t);
	s->address = s->address->ai_next;
	return tcp_begin(t, s);
}

static int
tcp_connect(UsherTransport *t, TransportState *s)
{
	struct pollfd poll_fd = {t->fd, POLLOUT, 0};
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&poll_fd, 1, 0) <= 0)
		return usher_clock_ms() >= s->address_deadline_ms ? tcp_next(t, s, ETIMEDOUT) : 0;
	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0)
		return tcp_next(t, s, error);
	t->error[0] = '\0';
	if (s->options.tls)
		return tls_begin(t, s);
	s->phase = CONNECTED;
	t->want_write = false;
	return 1;
}

static int
resolved(UsherTransport *t, TransportState *s)
{
	uint64_t count;

	if (read(s->lookup->done_fd, &count, sizeof(count)) < 0)
		return 0;
	if (s->lookup->error != 0)
		return failed(t, "cannot look up the host", gai_strerror(s->lookup->error));
	t->fd = -1;
	s->address = s->lookup->addresses;
	return tcp_begin(t, s);
}

int
usher_transport_connect(UsherTransport *t)
{
	TransportState *s = t->state;
	int result = 0;
	Phase before;

	do
	{
		before = s->phase;
		if (s->phase == CONNECTED)
			return 1;
		if (s->phase == RESOLVING)
			result = resolved(t, s);
		else if (s->phase == CONNECTING)
			result = tcp_connect(t, s);
		else
			result = tls_handshake(t, s);
	} while (result == 0 && s->phase != before);
	if (result == 0 && usher_clock_ms() >= s->deadline_ms)
		return failed(t, s->phase == HANDSHAKE ? "TLS handshake" : "cannot connect",
					  "it takes too long");
	return result;
}

bool
usher_transport_open(UsherTransport *t, const UsherTransportOptions *options)
{
	TransportState *s = calloc(1, sizeof(TransportState));
	struct sigaction pipe_action;
	int result;

	*t = (UsherTransport){.fd = -1};
	if (s == NULL)
		return failed(t, "out of memory", "") > 0;
	t->state = s;
	s->options = *options;
	s->deadline_ms = usher_clock_ms() + options->connect_ms;
	/* OpenSSL writes with write(2): a peer that has gone must not end the process. */
	if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	if (options->tls && !tls_configure(t, s))
		return false;
	result = lookup_begin(t, s);
	if (result == 1)
	{
		s->address = s->lookup->addresses;
		result = tcp_begin(t, s);
	}
	else if (result == 0)
		t->fd = s->lookup->done_fd;
	return result >= 0;
}

/* ---- bytes ---- */

ssize_t
usher_transport_read(UsherTransport *t, char *buffer, size_t size)
{
	ssize_t n;

	if (t->state->ssl)
	{
		ERR_clear_error();
		errno = 0;
		n = SSL_read(t->state->ssl, buffer, (int) (size < CHUNK_MAX ? size : CHUNK_MAX));
		return n > 0 ? n : tls_result(t, (int) n, "cannot read");
	}
	n = recv(t->fd, buffer, size, 0);
	if (n > 0)
		return n;
	if (n == 0)
		return failed(t, "the peer closed the connection", "");
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	return failed_errno(t, "cannot read", errno);
}

ssize_t
usher_transport_write(UsherTransport *t, const char *bytes, size_t size)
{
	ssize_t n;

	if (t->state->ssl)
	{
		ERR_clear_error();
		errno = 0;
		n = SSL_write(t->state->ssl, bytes, (int) (size < CHUNK_MAX ? size : CHUNK_MAX));
		if (n <= 0)
			return tls_result(t, (int) n, "cannot write");
		t->want_write = false;
		return n;
	}
	n = send(t->fd, bytes, size, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	return failed_errno(t, "cannot write", errno);
}

void
usher_transport_wait(const UsherTransport *t, bool writable, int ms)
{
	struct pollfd poll_fd = {t->fd, (short) (POLLIN | (writable || t->want_write ? POLLOUT : 0)),
							 0};

	(void) poll(&poll_fd, 1, ms);
}

void
usher_transport_close(UsherTransport *t)
{
	TransportState *s = t->state;

	if (s == NULL)
		return;
	if (s->ssl && s->phase == CONNECTED)
		(void) SSL_shutdown(s->ssl);
	socket_close(t);
	SSL_free(s->ssl);
	SSL_CTX_free(s->context);
	ERR_clear_error();
	lookup_release(s->lookup);
	free(s);
	t->state = NULL;
}
