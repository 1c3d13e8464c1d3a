/*
 * bgworkers/sinks/redis_link.c
 *	  A connection to Redis: from the URL to replies.
 */
#include "sinks/redis_link.h"

#include <stdarg.h>
#include <stdio.h>

#define READ_SIZE          (64 * 1024)
#define ELEMENTS_MAX       (1024 * 1024) /* of an array in a reply */
#define WORDS_MAX          16
#define CONNECT_TIMEOUT_MS 5000

static bool
failed(RedisLink *link, const char *text)
{
	snprintf(link->error, sizeof(link->error), "%s", text);
	return false;
}

/* ---- the URL ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part of a URL without its %XX; NULL: no memory. */
static char *
percent_decoded(const char *from, const char *to)
{
	char *text = malloc((size_t) (to - from) + 1), *out = text;

	if (text == NULL)
		return NULL;
	for (; from < to; from++)
	{
		if (*from == '%' && to - from > 2 && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0)
		{
			*out++ = (char) (hex_digit(from[1]) * 16 + hex_digit(from[2]));
			from += 2;
		}
		else
			*out++ = *from;
	}
	*out = '\0';
	return text;
}

/* [user[:password]@] */
static const char *
url_credentials(RedisLink *link, const char *p, const char *end)
{
	const char *at = NULL, *colon;

	for (const char *q = p; q < end; q++)
		if (*q == '@')
			at = q;
	if (at == NULL)
		return p;
	colon = memchr(p, ':', (size_t) (at - p));
	if (colon)
		link->password = percent_decoded(colon + 1, at);
	if (colon != p)
		link->user = percent_decoded(p, colon ? colon : at);
	return at + 1;
}

/* host[:port], an IPv6 address in brackets */
static bool
url_host(RedisLink *link, const char *p, const char *end)
{
	const char *host_end;

	if (p < end && *p == '[')
	{
		host_end = memchr(p, ']', (size_t) (end - p));
		if (host_end == NULL)
			return false;
		link->host = percent_decoded(p + 1, host_end);
		p = host_end + 1;
	}
	else
	{
		host_end = memchr(p, ':', (size_t) (end - p));
		link->host = percent_decoded(p, host_end ? host_end : end);
		p = host_end ? host_end : end;
	}
	if (p < end && *p++ != ':')
		return false;
	link->port = p < end ? percent_decoded(p, end) : strdup("6379");
	return link->host && link->host[0] && link->port &&
		   strspn(link->port, "0123456789") == strlen(link->port);
}

/* redis[s]://[user[:password]@]host[:port][/database] */
static bool
url_parse(RedisLink *link, const char *url)
{
	static const char usage[] =
		"the option url must be redis[s]://[user[:password]@]host[:port][/database]";
	const char *p, *end;

	if (strncmp(url, "redis://", 8) == 0)
		p = url + 8;
	else if (strncmp(url, "rediss://", 9) == 0)
	{
		link->tls = true;
		p = url + 9;
	}
	else
		return failed(link, usage);
	end = p + strcspn(p, "/?#");
	if (*end == '/' && end[1] != '\0')
	{
		char *rest;

		link->database = strtoll(end + 1, &rest, 10);
		if (*rest != '\0' || link->database < 0)
			return failed(link, usage);
	}
	else if (*end != '\0' && *end != '/')
		return failed(link, usage);
	return url_host(link, url_credentials(link, p, end), end) || failed(link, usage);
}

static bool
text_option(const UsherSinkContext *context, const char *name, char **value)
{
	const char *given = usher_option(context, "", name, NULL);

	if (given == NULL)
		return true;
	free(*value);
	*value = strdup(given);
	return *value != NULL;
}

/* ---- life ---- */

/* hiredis' own, the same for every reader. */
static void *(*create_array)(const redisReadTask *, int);

/* It makes room for as many elements as the reply announces, whatever that is. */
static void *
create_array_limited(const redisReadTask *task, int elements)
{
	return elements > ELEMENTS_MAX ? NULL : create_array(task, elements);
}

static bool
reader_make(RedisLink *link)
{
	link->reader = redisReaderCreate();
	if (link->reader == NULL)
		return failed(link, "out of memory");
	create_array = link->reader->fn->createArray;
	link->functions = *link->reader->fn;
	link->functions.createArray = create_array_limited;
	link->reader->fn = &link->functions;
	return true;
}

bool
redis_link_open(RedisLink *link, const UsherSinkContext *context)
{
	UsherTransportOptions options = {0};

	*link = (RedisLink){.transport = {.fd = -1}};
	if (!url_parse(link, usher_option(context, "", "url", "redis://127.0.0.1:6379")))
		return false;
	if (!text_option(context, "username", &link->user) ||
		!text_option(context, "password", &link->password) || !reader_make(link))
		return failed(link, "out of memory");
	options.host = link->host;
	options.port = link->port;
	options.tls = link->tls;
	options.ca_file = usher_option(context, "", "ca_file", NULL);
	options.cert_file = usher_option(context, "", "cert_file", NULL);
	options.key_file = usher_option(context, "", "key_file", NULL);
	options.connect_ms = (int) usher_option_int(context, "", "connect_timeout_ms",
												CONNECT_TIMEOUT_MS);
	link->heard_ms = usher_clock_ms();
	return usher_transport_open(&link->transport, &options) || failed(link, link->transport.error);
}

int
redis_link_connect(RedisLink *link)
{
	int result = usher_transport_connect(&link->transport);

	if (result < 0)
		(void) failed(link, link->transport.error);
	else if (result > 0)
		link->heard_ms = usher_clock_ms();
	return result;
}

void
redis_link_close(RedisLink *link)
{
	usher_transport_close(&link->transport);
	if (link->reader)
		redisReaderFree(link->reader);
	link->reader = NULL;
	buffer_free(&link->out);
	if (link->password)
		explicit_bzero(link->password, strlen(link->password));
	free(link->host);
	free(link->port);
	free(link->user);
	free(link->password);
	link->host = link->port = link->user = link->password = NULL;
}

/* ---- commands ---- */

bool
redis_link_command(RedisLink *link, int n, const char **words, const size_t *lens)
{
	char *command;
	int len = redisFormatCommandArgv(&command, n, words, lens);
	bool ok;

	if (len < 0)
		return failed(link, "out of memory");
	ok = buffer_add(&link->out, command, (size_t) len) || failed(link, "out of memory");
	free(command);
	return ok;
}

bool
redis_link_send(RedisLink *link, ...)
{
	const char *words[WORDS_MAX];
	int n = 0;
	va_list args;

	va_start(args, link);
	while (n < WORDS_MAX && (words[n] = va_arg(args, const char *)) != NULL)
		n++;
	va_end(args);
	return redis_link_command(link, n, words, NULL);
}

/* A name without what CLIENT SETNAME does not take. */
static void
client_name(char *out, size_t size, const char *name)
{
	size_t n = 0;

	for (; *name && n + 1 < size; name++)
		out[n++] = *name > ' ' && *name <= '~' ? *name : '_';
	out[n] = '\0';
}

int
redis_link_greet(RedisLink *link, const char *name)
{
	char database[24], safe_name[128];
	int n = 0;

	if (link->password && link->user)
		n += redis_link_send(link, "AUTH", link->user, link->password, NULL);
	else if (link->password)
		n += redis_link_send(link, "AUTH", link->password, NULL);
	if (link->database > 0)
	{
		snprintf(database, sizeof(database), "%lld", (long long) link->database);
		n += redis_link_send(link, "SELECT", database, NULL);
	}
	client_name(safe_name, sizeof(safe_name), name);
	n += redis_link_send(link, "CLIENT", "SETNAME", safe_name, NULL);
	return n;
}

/* The connection's name is a courtesy: a user who may not set it is no failure. */
int
redis_link_greeted(RedisLink *link, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_STATUS)
		return 1;
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0 &&
		strstr(reply->str, "client"))
		return 1;
	if (reply->type == REDIS_REPLY_ERROR)
		(void) failed(link, reply->str);
	else
		(void) failed(link, "the peer does not speak Redis' protocol");
	return -1;
}

/* ---- bytes and replies ---- */

ssize_t
redis_link_flush(RedisLink *link)
{
	ssize_t sum = 0;

	while (buffer_len(&link->out) > 0)
	{
		ssize_t n = usher_transport_write(&link->transport, link->out.data + link->out.begin,
										  buffer_len(&link->out));

		if (n < 0)
		{
			(void) failed(link, link->transport.error);
			return -1;
		}
		if (n == 0)
			break;
		buffer_consume(&link->out, (size_t) n);
		sum += n;
	}
	return sum;
}

ssize_t
redis_link_fill(RedisLink *link)
{
	char bytes[READ_SIZE];
	ssize_t n = usher_transport_read(&link->transport, bytes, sizeof(bytes));

	if (n < 0)
		(void) failed(link, link->transport.error);
	if (n <= 0)
		return n;
	link->heard_ms = usher_clock_ms();
	link->unread += (size_t) n;
	if (link->unread > REDIS_REPLY_MAX || redisReaderFeed(link->reader, bytes, (size_t) n) != 0)
	{
		(void) failed(link, "a reply is too large");
		return -1;
	}
	return n;
}

int
redis_link_reply(RedisLink *link, redisReply **reply)
{
	void *object = NULL;

	if (redisReaderGetReply(link->reader, &object) != REDIS_OK)
	{
		snprintf(link->error, sizeof(link->error), "the peer does not speak Redis' protocol: %s",
				 link->reader->errstr);
		return -1;
	}
	if (object == NULL)
		return 0;
	link->unread = link->reader->len - link->reader->pos;
	*reply = object;
	return 1;
}

/* The reader keeps its bytes in the open, and these need no object each. */
int
redis_link_skip_queued(RedisLink *link, int max)
{
	static const char queued[] = "+QUEUED\r\n";
	redisReader *r = link->reader;
	int n = 0;

	if (r->ridx != -1)
		return 0;
	while (n < max && r->len - r->pos >= sizeof(queued) - 1 &&
		   memcmp(r->buf + r->pos, queued, sizeof(queued) - 1) == 0)
	{
		r->pos += sizeof(queued) - 1;
		n++;
	}
	return n;
}

/* ---- errors ---- */

static bool
begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

RedisTrouble
redis_trouble(const char *error)
{
	static const char *const message[] = {
		"WRONGTYPE", "ERR Elements are too large", "ERR The stream has exhausted",
		"ERR The ID specified in XADD must", "ERR Protocol error: invalid bulk length"};
	static const char *const setup[] = {"MOVED",       "ASK ",
										"CROSSSLOT",   "ERR unknown command",
										"ERR syntax",  "ERR wrong number",
										"ERR Unknown", "ERR Invalid stream ID",
										"ERR EXEC",    "ERR This instance has cluster"};

	if (begins(error, "ERR The ID specified in XADD is equal or smaller"))
		return TROUBLE_REFUSED;
	if (begins(error, "NOPERM"))
		return strstr(error, "run the '") || strstr(error, "execute the command") ||
					   !strstr(error, "key")
				   ? TROUBLE_SETUP
				   : TROUBLE_MESSAGE;
	for (size_t i = 0; i < sizeof(message) / sizeof(message[0]); i++)
		if (begins(error, message[i]))
			return TROUBLE_MESSAGE;
	for (size_t i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
		if (begins(error, setup[i]))
			return TROUBLE_SETUP;
	return TROUBLE_AWAY;
}

void
redis_error_code(const char *error, char *code, size_t size)
{
	snprintf(code, size, "%.*s", (int) strcspn(error, " "), error);
}
