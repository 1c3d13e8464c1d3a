/*
 * bgworkers/sinks/nats.h
 *	  NATS JetStream: what the files of this sink share.
 *
 *	  nats.c          the sink: the relay's side
 *	  nats_courier.c  the thread that talks to the server
 *	  nats_link.c     its connections
 *	  nats_publish.c  messages out, answers in
 *	  nats_config.c   options, connections
 *	  nats_stream.c   the stream: is it there, what is in it
 *	  nats_verify.c   reading back
 *
 * libnats waits while it connects, shakes hands and asks the server something.
 * So a thread of ours, the courier, makes all calls of libnats, and the relay's
 * thread never waits.  Both share a NatsCourier under its lock:
 *
 *	  relay's thread --- handed: messages ---> courier --- libnats --> server
 *	                 <-- answers, stage -----
 *
 * The courier reads messages in place.  It must not touch one after it has been
 * told to stop: close() waits until it has ended.  Only while it connects, when
 * it has no messages, may it be left alone; whoever lets go of the NatsCourier
 * last frees it.
 *
 * The connection that publishes is driven through libnats' interface for event
 * loops, by the courier itself: libnats has no thread for it then, a row of
 * messages goes out with one write, and nothing waits in a buffer for its turn.
 */
#ifndef USHER_NATS_H
#define USHER_NATS_H

#include <nats/nats.h>
#include <pthread.h>

#include "sinks/sink.h"

#define NATS_SERVERS_MAX  32
#define NATS_SUBJECTS_MAX 256
#define NATS_REFUSED_MAX  256
#define NATS_FLYING_MAX   16384 /* published and not answered */

/* Copies: a courier that was left alone outlives the sink's options. */
typedef struct NatsConfig
{
	char *servers[NATS_SERVERS_MAX]; /* scheme://host:port, without a user */
	char *hosts[NATS_SERVERS_MAX];
	bool tls[NATS_SERVERS_MAX];
	int nservers;
	char *user, *password, *token, *credentials; /* the text of a credentials file */
	char *ca_file, *cert_file, *key_file;
	char *stream;
	char *subjects; /* of a stream that is made: a,b,c */
	char *name; /* of the connection */
	bool create_stream, in_memory, expect_stream;
	int replicas;
	int64_t duplicate_window_ms; /* 0: as the server likes it */
	int connect_timeout_ms, timeout_ms;
	bool structured;
	char id_prefix[128]; /* of Nats-Msg-Id */
	int64_t position; /* the cursor when the sink was opened */
	int64_t in_flight;
	int lanes;
	int64_t replay;
} NatsConfig;

/* What a Nats-Msg-Id says of a message of this sink. */
typedef struct NatsPlace
{
	int64_t position, replay;
} NatsPlace;

typedef enum NatsStage
{
	NATS_CONNECTING,
	NATS_READY,
	NATS_BROKEN /* why: result, code, text */
} NatsStage;

typedef struct NatsAnswer
{
	UsherMessage *message;
	bool duplicate;
	char code[24]; /* not empty: rejected */
	char *text;
} NatsAnswer;

typedef struct NatsAnswers
{
	NatsAnswer *list;
	size_t count, size;
} NatsAnswers;

typedef struct NatsMessages
{
	UsherMessage **list;
	size_t count, size;
} NatsMessages;

typedef struct NatsCourier
{
	int references; /* atomic */
	NatsConfig config;
	int wake_fd; /* an eventfd: the courier has something to do */
	int told_fd; /* an eventfd: the sink has something to do */

	pthread_mutex_t lock;
	pthread_t thread;
	bool started, ended;
	bool stop, sleeping, alone; /* alone: its sink is gone */
	NatsStage stage;
	int64_t progress_ms; /* atomic: when it last came on, while it connects */
	UsherSinkResult result;
	char code[64], text[512];
	NatsMessages handed;
	NatsAnswers answers;
	int socket; /* -1: none */
	char *refused[NATS_REFUSED_MAX]; /* what the server said of permissions, not looked at yet */
	int nrefused;

	/* the courier's own */
	natsConnection *connection;
	natsSubscription *acks;
	char inbox[64];
	size_t inbox_len;
	bool want_write;
	char *subjects[NATS_SUBJECTS_MAX]; /* of the stream */
	int nsubjects;
	NatsPlace *known; /* behind the cursor, and in the stream; rising */
	size_t nknown, known_size;

	/* [number & (capacity - 1)]: done < number <= sent is on its way, NULL: answered */
	UsherMessage **flying;
	uint64_t capacity, oldest, next;
	uint64_t outstanding;
	bool stores; /* the server has stored a message of this connection */
	NatsMessages waiting;
	size_t waiting_first;
	NatsAnswers answered; /* for the sink, at the end of the round */
} NatsCourier;

/* nats_courier.c */
extern NatsCourier *
nats_courier_start(const UsherSinkContext *context, char *error, size_t error_size);
extern void nats_courier_release(NatsCourier *c);
extern void nats_courier_wake(NatsCourier *c);
extern void nats_courier_stop(NatsCourier *c);
/* It may take its time, and is not stuck. */
extern void nats_courier_progress(NatsCourier *c);
extern void nats_broken(NatsCourier *c, UsherSinkResult result, const char *code,
						const char *format, ...) __attribute__((format(printf, 4, 5)));
/* With what libnats said last. */
extern void nats_broken_status(NatsCourier *c, const char *what, natsStatus status);

/* nats_link.c */
extern bool nats_link_prepare(NatsCourier *c, int server);
extern bool nats_link_open(NatsCourier *c, int server);
extern bool nats_link_ended(NatsCourier *c);
extern void nats_link_read(NatsCourier *c);
extern void nats_link_close(NatsCourier *c);

/* nats_publish.c */
extern bool nats_messages_add(NatsMessages *messages, UsherMessage **list, size_t n);
extern void nats_publish_waiting(NatsCourier *c);
extern void nats_take_acks(NatsCourier *c);
extern void nats_take_refusals(NatsCourier *c);
extern bool nats_subject_ok(const char *subject, size_t len);
extern bool nats_subject_matches(const char *pattern, const char *subject);

/* nats_config.c */
extern bool nats_config_read(const UsherSinkContext *context, NatsConfig *config, char *error,
							 size_t error_size);
extern void nats_config_free(NatsConfig *config);
extern const char *nats_status_code(natsStatus status);
extern const char *nats_last_text(void);
/* `more` may set further options; without it libnats' own threads serve the connection. */
extern natsStatus nats_connect(natsConnection **connection, const NatsConfig *config, int server,
							   natsStatus (*more)(natsOptions *, void *), void *arg);

/* nats_stream.c */
typedef struct NatsRange
{
	const char *subject; /* NULL: all */
	int64_t since_ns; /* 0: first counts */
	uint64_t first, last; /* sequences */
} NatsRange;

/* A message of this sink, only with its headers; false: stop. */
typedef bool (*NatsSeen)(void *arg, natsMsg *message, const NatsPlace *place);

/* See to the stream: c->subjects, c->known. */
extern bool nats_stream_prepare(NatsCourier *c, natsConnection *connection);
extern natsStatus nats_stream_read(const NatsConfig *config, jsCtx *js, const NatsRange *range,
								   NatsSeen seen, void *arg);
extern bool nats_id_parse(const NatsConfig *config, const char *id, NatsPlace *place);
extern int nats_place_compare(const void *a, const void *b);

/* nats_verify.c */
extern bool nats_verify(const UsherSinkContext *context, UsherVerifier *verifier, char *error,
						size_t error_size);

#endif /* USHER_NATS_H */
