/*
 * bgworkers/sinks/nats_link.c
 *	  The courier's connections: one for questions, and one that it drives itself.
 *
 * libnats has a thread for its callbacks.  It may call refused() as long as the
 * connection is not closed, and closed() after that, so the connection holds a
 * reference to the courier, which closed() lets go of.
 */
#include "sinks/nats.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define REFUSED_LEN_MAX 512
#define CLOSE_READS     1000 /* of what is left in the socket */

/* ---- libnats' callbacks ---- */

static void
refused(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *arg)
{
	NatsCourier *c = arg;
	char *text = strndup(nats_last_text(), REFUSED_LEN_MAX);

	(void) connection, (void) subscription, (void) status;
	pthread_mutex_lock(&c->lock);
	if (text != NULL && c->nrefused < NATS_REFUSED_MAX)
	{
		c->refused[c->nrefused++] = text;
		text = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	free(text);
	nats_courier_wake(c);
}

static void
closed(natsConnection *connection, void *arg)
{
	(void) connection;
	nats_courier_release(arg);
}

static natsStatus
loop_attach(void **data, void *loop, natsConnection *connection, natsSock fd)
{
	NatsCourier *c = loop;

	(void) connection;
	*data = c;
	pthread_mutex_lock(&c->lock);
	c->socket = fd;
	pthread_mutex_unlock(&c->lock);
	return NATS_OK;
}

/* libnats is about to close the socket: it may be somebody else's soon. */
static natsStatus
loop_read(void *data, bool add)
{
	NatsCourier *c = data;

	pthread_mutex_lock(&c->lock);
	if (!add)
		c->socket = -1;
	pthread_mutex_unlock(&c->lock);
	return NATS_OK;
}

static natsStatus
loop_write(void *data, bool add)
{
	((NatsCourier *) data)->want_write = add;
	return NATS_OK;
}

static natsStatus
loop_detach(void *data)
{
	(void) data;
	return NATS_OK;
}

static natsStatus
loop_options(natsOptions *o, void *arg)
{
	natsStatus status = natsOptions_SetEventLoop(o, arg, loop_attach, loop_read, loop_write,
												 loop_detach);

	if (status == NATS_OK)
		status = natsOptions_SetSendAsap(o, true); /* into the buffer that we write out */
	if (status == NATS_OK)
		status = natsOptions_SetErrorHandler(o, refused, arg);
	if (status == NATS_OK)
		status = natsOptions_SetClosedCB(o, closed, arg);
	return status;
}

/* ---- connecting ---- */

/* Ask for the stream, with a connection that waits for answers. */
bool
nats_link_prepare(NatsCourier *c, int server)
{
	natsConnection *connection = NULL;
	natsStatus status = nats_connect(&connection, &c->config, server, NULL, NULL);
	char what[300];
	bool ok;

	if (status != NATS_OK)
	{
		snprintf(what, sizeof(what), "cannot connect to %.250s", c->config.servers[server]);
		nats_broken_status(c, what, status);
		return false;
	}
	ok = nats_stream_prepare(c, connection);
	natsConnection_Destroy(connection);
	return ok;
}

bool
nats_link_open(NatsCourier *c, int server)
{
	natsStatus status;
	natsInbox *inbox = NULL;
	char subject[80];

	__atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
	status = nats_connect(&c->connection, &c->config, server, loop_options, c);
	if (status != NATS_OK)
	{
		c->connection = NULL;
		nats_courier_release(c);
		nats_broken_status(c, "cannot connect", status);
		return false;
	}
	status = natsInbox_Create(&inbox);
	if (status == NATS_OK)
	{
		snprintf(c->inbox, sizeof(c->inbox), "%s.", (char *) inbox);
		c->inbox_len = strlen(c->inbox);
		snprintf(subject, sizeof(subject), "%s*", c->inbox);
		status = natsConnection_SubscribeSync(&c->acks, c->connection, subject);
	}
	if (status == NATS_OK)
		status = natsSubscription_SetPendingLimits(c->acks, -1, -1);
	natsInbox_Destroy(inbox);
	if (status != NATS_OK)
		nats_broken_status(c, "cannot subscribe", status);
	return status == NATS_OK;
}

/* ---- the socket ---- */

void
nats_link_close(NatsCourier *c)
{
	if (c->acks != NULL)
		natsSubscription_Destroy(c->acks);
	c->acks = NULL;
	/* libnats would wait for what is in its buffer to be written. */
	if (c->socket >= 0)
	{
		(void) shutdown(c->socket, SHUT_RDWR);
		for (int i = 0; i < CLOSE_READS && !natsConnection_IsClosed(c->connection); i++)
			natsConnection_ProcessReadEvent(c->connection);
	}
	natsConnection_Destroy(c->connection);
	c->connection = NULL;
}

bool
nats_link_ended(NatsCourier *c)
{
	const char *text = NULL;
	natsStatus status;

	if (!natsConnection_IsClosed(c->connection))
		return false;
	status = natsConnection_GetLastError(c->connection, &text);
	nats_broken(c, SINK_LOST, nats_status_code(status), "NATS: %s",
				text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status));
	return true;
}

/*
 * Under TLS this waits for the rest of a record of which the beginning is there.
 * If it does not come, the sink misses its acknowledgements, and close() shuts
 * the socket down.
 */
void
nats_link_read(NatsCourier *c)
{
	natsConnection_ProcessReadEvent(c->connection);
	nats_take_acks(c);
}
