/*
 * bgworkers/sinks/transport.h
 *	  A TCP connection that never blocks, with or without TLS.
 *
 * One thread.  A name is looked up by a thread of its own, because the system's
 * resolver may take its time; everything else happens in the calls below.
 */
#ifndef USHER_TRANSPORT_H
#define USHER_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct UsherTransportOptions
{
	const char *host, *port; /* a name or an address; live as long as the transport */
	bool tls; /* the certificate must be valid, and be for this host */
	const char *ca_file; /* NULL: the certificates that the system trusts */
	const char *cert_file, *key_file; /* NULL, or who we are */
	int connect_ms; /* for all of it: name, TCP and TLS */
} UsherTransportOptions;

typedef struct UsherTransport
{
	int fd; /* to wait on; another one until it is connected */
	bool want_write; /* wait for it to be writable, besides readable */
	char error[256];
	struct TransportState *state;
} UsherTransport;

/* False: it failed at once.  usher_transport_close() in any case. */
extern bool usher_transport_open(UsherTransport *t, const UsherTransportOptions *options);

/* Go on connecting: 1 it is connected, 0 wait for fd (or a little while), -1 failed. */
extern int usher_transport_connect(UsherTransport *t);

/* Bytes that were read or written, 0: not now, -1: failed, or the peer has closed. */
extern ssize_t usher_transport_read(UsherTransport *t, char *buffer, size_t size);
extern ssize_t usher_transport_write(UsherTransport *t, const char *bytes, size_t size);

/* For those who may wait: until fd is ready, or for so long. */
extern void usher_transport_wait(const UsherTransport *t, bool writable, int ms);

extern void usher_transport_close(UsherTransport *t);

extern int64_t usher_clock_ms(void);

#endif /* USHER_TRANSPORT_H */
