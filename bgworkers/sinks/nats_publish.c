/*
 * bgworkers/sinks/nats_publish.c
 *	  Messages -> libnats, and what the server answers to each.
 *
 * A message's answer comes to a subject of its own, <inbox>.<number>.  All goes
 * through one connection and is stored in the order of send(): no message may
 * be stored behind one that is to be sent again.  So whatever fails, unless the
 * message itself is to blame, ends the connection: SINK_LOST.
 *
 * A server that refuses a message, say because the stream is full, may take the
 * next one, if there is room again by then.  So the first message of each
 * connection goes alone: those behind it follow when it is stored.
 */
#include "sinks/nats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/json_scan.h"

#define ROUND_MESSAGES  256
#define ROUND_BYTES     (256 * 1024)
#define SUBJECT_LEN_MAX 1024
#define VALUE_SIZE      1024 /* room that is enough for most values of headers */
#define TEXT_MAX        400

/* err_code of JetStream's API (server/errors.json of nats-server). */
#define JS_MESSAGE_TOO_LARGE 10054
#define JS_HEADER_TOO_LARGE  10097
#define JS_OTHER_STREAM      10060
#define JS_SEALED            10109

/* ---- lists ---- */

bool
nats_messages_add(NatsMessages *m, UsherMessage **list, size_t n)
{
	if (m->count + n > m->size)
	{
		size_t size = 2 * (m->count + n) + 64;
		UsherMessage **bigger = realloc(m->list, size * sizeof(UsherMessage *));

		if (bigger == NULL)
			return false;
		m->list = bigger;
		m->size = size;
	}
	memcpy(m->list + m->count, list, n * sizeof(UsherMessage *));
	m->count += n;
	return true;
}

/* code NULL: it is there. */
static void
answer(NatsCourier *c, UsherMessage *m, bool duplicate, const char *code, const char *text)
{
	NatsAnswers *a = &c->answered;

	if (a->count == a->size)
	{
		size_t size = 2 * a->size + 64;
		NatsAnswer *list = realloc(a->list, size * sizeof(NatsAnswer));

		if (list == NULL)
		{
			nats_broken(c, SINK_LOST, "MEMORY", "out of memory");
			return;
		}
		a->list = list;
		a->size = size;
	}
	a->list[a->count] = (NatsAnswer){.message = m, .duplicate = duplicate};
	if (code != NULL)
	{
		snprintf(a->list[a->count].code, sizeof(a->list[a->count].code), "%s", code);
		a->list[a->count].text = strdup(text);
	}
	a->count++;
}

/* ---- what is on its way ---- */

static bool
flying_add(NatsCourier *c, UsherMessage *m)
{
	if (c->next - c->oldest == c->capacity)
	{
		uint64_t capacity = c->capacity ? 2 * c->capacity : 1024;
		UsherMessage **list = calloc(capacity, sizeof(UsherMessage *));

		if (list == NULL)
			return false;
		for (uint64_t i = c->oldest; i < c->next; i++)
			list[i & (capacity - 1)] = c->flying[i & (c->capacity - 1)];
		free(c->flying);
		c->flying = list;
		c->capacity = capacity;
	}
	c->flying[c->next++ & (c->capacity - 1)] = m;
	c->outstanding++;
	return true;
}

/* NULL: there is none of that number. */
static UsherMessage *
flying_take(NatsCourier *c, uint64_t number)
{
	UsherMessage *m;

	if (number < c->oldest || number >= c->next)
		return NULL;
	m = c->flying[number & (c->capacity - 1)];
	c->flying[number & (c->capacity - 1)] = NULL;
	if (m != NULL)
		c->outstanding--;
	while (c->oldest < c->next && c->flying[c->oldest & (c->capacity - 1)] == NULL)
		c->oldest++;
	return m;
}

/* ---- subjects ---- */

/* Tokens between dots, none empty, no wildcards, nothing that ends a word in the protocol. */
bool
nats_subject_ok(const char *subject, size_t len)
{
	size_t token = 0;

	if (len == 0 || len > SUBJECT_LEN_MAX || strlen(subject) != len)
		return false;
	for (size_t i = 0; i <= len; i++)
	{
		char ch = subject[i];

		if (ch != '.' && ch != '\0')
		{
			if ((unsigned char) ch <= ' ' || ch == 0x7f)
				return false;
			continue;
		}
		if (i == token)
			return false;
		if (i == token + 1 && (subject[token] == '*' || subject[token] == '>'))
			return false;
		token = i + 1;
	}
	return true;
}

bool
nats_subject_matches(const char *pattern, const char *subject)
{
	for (;;)
	{
		size_t wanted = strcspn(pattern, "."), given = strcspn(subject, ".");

		if (wanted == 1 && pattern[0] == '>')
			return given > 0;
		if (!(wanted == 1 && pattern[0] == '*') &&
			(wanted != given || memcmp(pattern, subject, wanted) != 0))
			return false;
		pattern += wanted;
		subject += given;
		if (*pattern == '\0' || *subject == '\0')
			return *pattern == *subject;
		pattern++;
		subject++;
	}
}

static bool
stream_has_subject(const NatsCourier *c, const char *subject)
{
	for (int i = 0; i < c->nsubjects; i++)
		if (nats_subject_matches(c->subjects[i], subject))
			return true;
	return false;
}

/* ---- headers ---- */

static natsStatus
add_attribute(natsMsg *out, const UsherAttribute *a)
{
	char name[64] = "ce-", room[VALUE_SIZE], *value = room;
	size_t len = strlen(a->name), needed;
	natsStatus status;

	if (len == 15 && memcmp(a->name, "datacontenttype", 15) == 0)
		return natsMsgHeader_Set(out, "Content-Type", a->value);
	if (len > sizeof(name) - 4)
		return NATS_OK;
	memcpy(name + 3, a->name, len + 1);
	needed = usher_cloudevent_percent(a->value, a->len, room, sizeof(room) - 1);
	if (needed >= sizeof(room))
	{
		value = malloc(needed + 1);
		if (value == NULL)
			return NATS_NO_MEMORY;
		(void) usher_cloudevent_percent(a->value, a->len, value, needed);
	}
	value[needed] = '\0';
	status = natsMsgHeader_Set(out, name, value);
	if (value != room)
		free(value);
	return status;
}

/* A copy in the dead letters' subject: another message than the one it is a copy of. */
static bool
is_copy(const UsherMessage *m)
{
	for (int i = m->nattributes - 1; i >= 0 && m->replay != 0; i--)
		if (strcmp(m->attributes[i].name, "errorcode") == 0)
			return true;
	return false;
}

static natsStatus
add_id(const NatsCourier *c, natsMsg *out, const UsherMessage *m)
{
	char id[200];
	int len = snprintf(id, sizeof(id), "%s%" PRId64, c->config.id_prefix, m->position);

	if (m->replay != 0)
		len += snprintf(id + len, sizeof(id) - (size_t) len, ".r%" PRId64, m->replay);
	if (is_copy(m))
		snprintf(id + len, sizeof(id) - (size_t) len, ".dlq");
	return natsMsgHeader_Set(out, "Nats-Msg-Id", id);
}

/* In structured mode who reads back need not parse bodies. */
static bool
in_structured(const char *name)
{
	return strcmp(name, "position") == 0 || strcmp(name, "partitionkey") == 0 ||
		   strcmp(name, "replay") == 0;
}

static natsStatus
add_headers(const NatsCourier *c, natsMsg *out, const UsherMessage *m)
{
	natsStatus status = add_id(c, out, m);

	if (status == NATS_OK && c->config.expect_stream)
		status = natsMsgHeader_Set(out, "Nats-Expected-Stream", c->config.stream);
	if (status == NATS_OK && c->config.structured)
		status = natsMsgHeader_Set(out, "Content-Type",
								   "application/cloudevents+json; charset=UTF-8");
	for (int i = 0; status == NATS_OK && i < m->nattributes; i++)
		if (!c->config.structured || in_structured(m->attributes[i].name))
			status = add_attribute(out, &m->attributes[i]);
	return status;
}

/* ---- out ---- */

static natsStatus
publish(NatsCourier *c, UsherMessage *m)
{
	char reply[sizeof(c->inbox) + 24];
	natsMsg *out = NULL;
	natsStatus status;

	snprintf(reply, sizeof(reply), "%s%" PRIu64, c->inbox, c->next);
	status = natsMsg_Create(&out, m->topic, reply, m->body ? m->body : "", (int) m->body_len);
	if (status == NATS_OK)
		status = add_headers(c, out, m);
	if (status == NATS_OK)
		status = natsConnection_PublishMsg(c->connection, out);
	natsMsg_Destroy(out);
	return status;
}

static bool
is_known(const NatsCourier *c, const UsherMessage *m)
{
	NatsPlace place = {m->position, m->replay};

	return c->nknown > 0 && !is_copy(m) &&
		   bsearch(&place, c->known, c->nknown, sizeof(NatsPlace), nats_place_compare) != NULL;
}

/* True: it is settled without the server. */
static bool
settled(NatsCourier *c, UsherMessage *m)
{
	char text[TEXT_MAX];

	if (!nats_subject_ok(m->topic, m->topic_len))
		answer(c, m, false, "INVALID_SUBJECT", "the topic cannot be a subject of NATS");
	else if (is_known(c, m))
		answer(c, m, true, NULL, NULL);
	else if (!stream_has_subject(c, m->topic))
	{
		snprintf(text, sizeof(text), "the stream %s does not have the subject", c->config.stream);
		answer(c, m, false, "NO_STREAM", text);
	}
	else
		return false;
	return true;
}

static void
publish_one(NatsCourier *c, UsherMessage *m)
{
	natsStatus status;

	if (settled(c, m))
		return;
	status = publish(c, m);
	if (status == NATS_MAX_PAYLOAD)
		answer(c, m, false, "MAX_PAYLOAD", nats_last_text());
	else if (status == NATS_NO_SERVER_SUPPORT)
		nats_broken(c, SINK_BLOCKED, "NO_HEADERS", "the server does not know headers");
	else if (status != NATS_OK)
		nats_broken_status(c, "cannot publish", status);
	else if (!flying_add(c, m))
		nats_broken(c, SINK_LOST, "MEMORY", "out of memory");
}

/* Some of what waits, as long as the server takes it. */
void
nats_publish_waiting(NatsCourier *c)
{
	NatsMessages *w = &c->waiting;
	int n = 0;

	if (c->want_write && natsConnection_Buffered(c->connection) >= ROUND_BYTES)
		return;
	while (c->waiting_first < w->count && c->outstanding < (c->stores ? NATS_FLYING_MAX : 1) &&
		   n++ < ROUND_MESSAGES && c->stage == NATS_READY)
	{
		publish_one(c, w->list[c->waiting_first++]);
		if (n % 16 == 0 && natsConnection_Buffered(c->connection) >= ROUND_BYTES)
			break;
	}
	if (c->waiting_first == w->count)
		c->waiting_first = w->count = 0;
}

/* ---- in ---- */

static void
refusal(NatsCourier *c, UsherMessage *m, const char *data, size_t len)
{
	UsherJson error, value;
	int64_t err_code = 0;
	char text[TEXT_MAX] = "", code[24];
	size_t text_len = 0;

	if (usher_json_member(data, len, "error", &error) && error.kind == '{')
	{
		size_t left = len - (size_t) (error.start - data);

		if (usher_json_member(error.start, left, "err_code", &value))
			(void) usher_json_int(&value, &err_code);
		if (usher_json_member(error.start, left, "description", &value))
			text_len = usher_json_text(&value, text, sizeof(text) - 1);
	}
	text[text_len < sizeof(text) ? text_len : sizeof(text) - 1] = '\0';
	snprintf(code, sizeof(code), "JS_%" PRId64, err_code);
	if (err_code == JS_MESSAGE_TOO_LARGE || err_code == JS_HEADER_TOO_LARGE ||
		err_code == JS_OTHER_STREAM)
		answer(c, m, false, code, text);
	else
		nats_broken(c, err_code == JS_SEALED ? SINK_BLOCKED : SINK_LOST,
					err_code > 0 ? code : "PROTOCOL", "NATS: stream %s: %s", c->config.stream,
					text[0] != '\0' ? text : "an answer that is none");
}

static void
take_ack(NatsCourier *c, natsMsg *in)
{
	const char *data = natsMsg_GetData(in), *subject = natsMsg_GetSubject(in);
	size_t len = (size_t) natsMsg_GetDataLength(in);
	UsherJson value;
	UsherMessage *m;
	char *end;
	uint64_t number;

	if (strncmp(subject, c->inbox, c->inbox_len) != 0)
		return;
	number = strtoull(subject + c->inbox_len, &end, 10);
	m = *end == '\0' ? flying_take(c, number) : NULL;
	if (m == NULL)
		return;
	if (natsMsg_IsNoResponders(in))
		nats_broken(c, SINK_LOST, "NO_RESPONDERS", "NATS: nobody answers for stream %s",
					c->config.stream);
	else if (len > 0 && !usher_json_member(data, len, "error", &value) &&
			 usher_json_member(data, len, "seq", &value))
	{
		c->stores = true;
		answer(c, m, usher_json_member(data, len, "duplicate", &value) && value.kind == 't', NULL,
			   NULL);
	}
	else
		refusal(c, m, data, len);
}

void
nats_take_acks(NatsCourier *c)
{
	natsMsg *in = NULL;

	while (natsSubscription_NextMsg(&in, c->acks, 0) == NATS_OK)
	{
		take_ack(c, in);
		natsMsg_Destroy(in);
	}
}

/* Messages to this subject are not permitted; what is on its way gets no answer. */
static void
reject_subject(NatsCourier *c, const char *subject, size_t len, bool cut, const char *text)
{
	for (uint64_t i = c->oldest, next = c->next; i < next; i++)
	{
		UsherMessage *m = i < c->oldest ? NULL : c->flying[i & (c->capacity - 1)];

		if (m != NULL && strncmp(m->topic, subject, len) == 0 && (cut || m->topic_len == len))
			answer(c, flying_take(c, i), false, "NOT_PERMITTED", text);
	}
}

/* Permissions Violation for Publish to "SUBJECT" */
void
nats_take_refusals(NatsCourier *c)
{
	static const char before[] = "Publish to ";
	char *list[NATS_REFUSED_MAX];
	int n;

	pthread_mutex_lock(&c->lock);
	n = c->nrefused;
	memcpy(list, c->refused, (size_t) n * sizeof(char *));
	c->nrefused = 0;
	pthread_mutex_unlock(&c->lock);
	for (int i = 0; i < n; i++)
	{
		const char *subject = strstr(list[i], before);

		if (subject == NULL)
			nats_broken(c, SINK_LOST, "NOT_PERMITTED", "NATS: %s", list[i]);
		else
		{
			size_t len;

			subject += sizeof(before) - 1;
			subject += *subject == '"';
			len = strcspn(subject, "\"");
			reject_subject(c, subject, len, subject[len] == '\0', list[i]);
		}
		free(list[i]);
	}
}
