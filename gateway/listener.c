/*
 * gateway/listener.c
 *	  The sockets that listen, and libwebsockets on our loop.
 *
 * We accept, so that a drain can stop it and a lack of descriptors cannot spin;
 * the library adopts what was accepted in its raw role and does TLS.  What
 * happens on a connection is connection.c's.
 */
#include <errno.h>
#include <ev.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "connection.h"
#include "journal.h"
#include "limit.h"
#include "listener.h"

static struct
{
	struct ev_loop *loop;
	struct lws_context *context;
	struct lws_vhost *vhosts[2]; /* the API's, the administration's */
	ev_io accepting[2]; /* data: its vhost; NULL: there is none */
	ev_timer retry, sweep;
	bool open;
	SSL_CTX *certificate; /* and its key; NULL without TLS */
} listener;

static void
sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) timer, (void) events;
	connections_sweep(ev_now(loop));
}

static void
accept_some(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct lws_vhost *vhost = watcher->data;

	(void) events;
	for (int i = 0; i < 64; i++)
	{
		lws_sock_file_fd_type fd;
		int one = 1;

		fd.sockfd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd.sockfd < 0)
		{
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			{
				journal(JOURNAL_ERROR, "cannot accept a connection: %s", strerror(errno));
				ev_io_stop(loop, watcher);
				ev_timer_again(loop, &listener.retry);
			}
			return;
		}
		setsockopt(fd.sockfd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		/* On failure the library closes the socket. */
		lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_SOCKET | LWS_ADOPT_ALLOW_SSL, fd, "http", NULL);
	}
}

static void
accept_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) events;
	ev_timer_stop(loop, timer);
	for (int i = 0; listener.open && i < 2; i++)
		if (listener.accepting[i].data != NULL)
			ev_io_start(loop, &listener.accepting[i]);
}

Address
connection_peer(int fd)
{
	struct sockaddr_storage storage;
	socklen_t size = sizeof(storage);
	Address address = {{0}};

	if (getpeername(fd, (struct sockaddr *) &storage, &size) != 0)
		return address;
	if (storage.ss_family == AF_INET6)
		memcpy(address.bytes, &((struct sockaddr_in6 *) &storage)->sin6_addr, 16);
	else if (storage.ss_family == AF_INET)
	{
		address.bytes[10] = address.bytes[11] = 0xff;
		memcpy(address.bytes + 12, &((struct sockaddr_in *) &storage)->sin_addr, 4);
	}
	return address;
}

/* address:port, [address]:port; port 0 takes any.  The socket, or -1. */
static int
open_socket(const char *where, char *error, size_t size)
{
	const char *colon = strrchr(where, ':');
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *) &storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &storage;
	char host[64];
	Address address;
	socklen_t len;
	int fd, one = 1;

	if (colon == NULL || (size_t) (colon - where) >= sizeof(host))
	{
		snprintf(error, size, "\"%s\" is not address:port", where);
		return -1;
	}
	snprintf(host, sizeof(host), "%.*s", (int) (colon - where), where);
	if (host[0] == '[')
	{
		memmove(host, host + 1, strlen(host));
		host[strcspn(host, "]")] = '\0';
	}
	if (!limit_parse_address(host, &address))
	{
		snprintf(error, size, "\"%s\" is not a numeric address", host);
		return -1;
	}
	if (strchr(host, ':') == NULL)
	{
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t) atoi(colon + 1));
		memcpy(&v4->sin_addr, address.bytes + 12, 4);
		len = sizeof(*v4);
	}
	else
	{
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t) atoi(colon + 1));
		memcpy(&v6->sin6_addr, address.bytes, 16);
		len = sizeof(*v6);
	}
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		bind(fd, (struct sockaddr *) &storage, len) != 0 || listen(fd, 4096) != 0)
	{
		snprintf(error, size, "cannot listen on %s: %s", where, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Tells which port it is, when any would do. */
static void
announce(int fd, const char *what)
{
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);
	int port = 0;

	if (getsockname(fd, (struct sockaddr *) &storage, &len) == 0)
		port = ntohs(storage.ss_family == AF_INET ? ((struct sockaddr_in *) &storage)->sin_port
												  : ((struct sockaddr_in6 *) &storage)->sin6_port);
	journal(JOURNAL_INFO, "listening for %s on port %d", what, port);
}

static void
library_log(int level, const char *line)
{
	journal(level == LLL_ERR ? JOURNAL_ERROR : JOURNAL_WARNING, "libwebsockets: %.*s",
			(int) strcspn(line, "\n"), line);
}

/*
 * The certificate
 *
 * A context of TLS can be given a second certificate of another kind, but no other one in the place of its
 * own.  So each handshake takes the certificate from a context that is made anew by each reload.
 */

static int
certificate_for(SSL *ssl, void *arg)
{
	STACK_OF(X509) *chain = NULL;

	(void) arg;
	SSL_certs_clear(ssl);
	SSL_CTX_get0_chain_certs(listener.certificate, &chain);
	return SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(listener.certificate),
								SSL_CTX_get0_privatekey(listener.certificate), chain, 1);
}

bool
listener_reload_certificate(void)
{
	SSL_CTX *fresh;
	bool good;

	if (config.tls_certificate[0] == '\0')
		return true;
	fresh = SSL_CTX_new(TLS_server_method());
	good = fresh != NULL &&
		   SSL_CTX_use_certificate_chain_file(fresh, config.tls_certificate) == 1 &&
		   SSL_CTX_use_PrivateKey_file(fresh, config.tls_key, SSL_FILETYPE_PEM) == 1 &&
		   SSL_CTX_check_private_key(fresh) == 1;
	ERR_clear_error();
	if (!good)
	{
		SSL_CTX_free(fresh);
		return false;
	}
	SSL_CTX_free(listener.certificate);
	listener.certificate = fresh;
	return true;
}

/* Of the library's callback: the context of the API's vhost. */
void
listener_tls(SSL_CTX *tls)
{
	SSL_CTX_set_cert_cb(tls, certificate_for, NULL);
}

static bool
make_context(struct ev_loop *loop, char *error, size_t size)
{
	static struct lws_protocols protocols[] = {
		{"http", connection_callback, 0, 16384, 0, NULL, 0},
		{NULL, NULL, 0, 0, 0, NULL, 0},
	};
	static void *loops[1];
	struct lws_context_creation_info info = {0};
	bool tls = config.tls_certificate[0] != '\0';

	protocols[0].per_session_data_size = connection_size;
	if (!listener_reload_certificate())
	{
		snprintf(error, size, "%s and %s are no certificate and its key", config.tls_certificate,
				 config.tls_key);
		return false;
	}
	lws_set_log_level(LLL_ERR | LLL_WARN, library_log);
	loops[0] = loop;
	info.foreign_loops = loops;
	info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
				   LWS_SERVER_OPTION_DISABLE_IPV6 |
				   (tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0);
	info.count_threads = 1;
	info.pt_serv_buf_size = 16384;
	listener.context = lws_create_context(&info);
	if (listener.context == NULL)
	{
		snprintf(error, size, "libwebsockets does not start (is its plugin for libev installed?)");
		return false;
	}
	for (int i = 0; i < 2; i++)
	{
		struct lws_context_creation_info vhost = {0};

		vhost.port = CONTEXT_PORT_NO_LISTEN_SERVER;
		vhost.vhost_name = i == 0 ? "api" : CONNECTION_ADMIN_VHOST;
		vhost.protocols = protocols;
		vhost.keepalive_timeout = 0;
		if (i == 0 && tls)
		{
			vhost.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
			vhost.ssl_cert_filepath = config.tls_certificate;
			vhost.ssl_private_key_filepath = config.tls_key;
			vhost.ssl_options_set = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_COMPRESSION;
			vhost.alpn = "http/1.1";
		}
		listener.vhosts[i] = lws_create_vhost(listener.context, &vhost);
		if (listener.vhosts[i] == NULL)
		{
			snprintf(error, size, "libwebsockets refuses the certificate or the key");
			return false;
		}
	}
	return true;
}

bool
listener_start(struct ev_loop *loop, char *error, size_t size)
{
	const char *where[2] = {config.listen, config.listen_admin};

	listener.loop = loop;
	if (!make_context(loop, error, size))
		return false;
	for (int i = 0; i < 2; i++)
	{
		int fd;

		if (i == 1 && where[i][0] == '\0')
			continue; /* no administration */
		fd = open_socket(where[i], error, size);
		if (fd < 0)
			return false;
		announce(fd, i == 0 ? "requests" : "administration");
		ev_io_init(&listener.accepting[i], accept_some, fd, EV_READ);
		listener.accepting[i].data = listener.vhosts[i];
		ev_io_start(loop, &listener.accepting[i]);
	}
	listener.open = true;
	ev_timer_init(&listener.retry, accept_again, 0, 0.1);
	ev_timer_init(&listener.sweep, sweep, 1, 1);
	ev_timer_start(loop, &listener.sweep);
	return true;
}

void
listener_stop_accepting(void)
{
	listener.open = false;
	ev_timer_stop(listener.loop, &listener.retry);
	for (int i = 0; i < 2; i++)
	{
		if (listener.accepting[i].data == NULL)
			continue;
		ev_io_stop(listener.loop, &listener.accepting[i]);
		close(listener.accepting[i].fd);
	}
}

void
listener_close_idle(void)
{
	connections_drain();
}

void
listener_stop(void)
{
	lws_context_destroy(listener.context);
}
