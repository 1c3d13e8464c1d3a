/*
 * bgworkers/sinks/nats_config.c
 *	  Options of a NATS sink, and connections made of them.
 *
 * Options: url (nats://user@host:port or tls://..., several with commas between);
 * username, password, token, credentials (the text of a credentials file: JWT
 * and seed); ca_file, cert_file, key_file; stream (USHER); create_stream, and
 * for that: subjects, storage (file, memory), replicas, duplicate_window_ms;
 * expect_stream (true): messages name the stream that they are meant for;
 * connect_timeout_ms (5000), timeout_ms (10000): outstanding, and nothing
 * acknowledged for so long: lost; mode.
 */
#include "sinks/nats.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS         10000
#define IO_BUFFER          65536
#define IN_FLIGHT          20000 /* the relay's default */

/* ---- options ---- */

static bool
failed(char *error, size_t size, const char *what, const char *why)
{
	snprintf(error, size, "%s%s", what, why);
	return false;
}

static char *
copy_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? NULL : strdup(text);
}

/* [user[:password]@]host[:port]; a copy of url[0 .. len) that may be written to. */
static bool
read_authority(NatsConfig *config, char *text, bool tls, char *error, size_t size)
{
	int n = config->nservers;
	char *at = strrchr(text, '@'), *host = at ? at + 1 : text, *port;
	size_t host_len;

	if (at != NULL)
	{
		char *colon = strchr(text, ':');

		*at = '\0';
		if (colon != NULL && colon < at)
			*colon++ = '\0';
		else
			colon = NULL;
		if (config->user == NULL)
			config->user = copy_or_null(text);
		if (colon != NULL && config->password == NULL)
			config->password = copy_or_null(colon);
	}
	if (host[0] == '[')
	{
		port = strchr(host, ']');
		if (port == NULL)
			return failed(error, size, "the option \"url\" is not nats://host:port", "");
		port++;
	}
	else
		port = host + strcspn(host, ":");
	host_len = (size_t) (port - host);
	if (host_len == 0 || (*port != '\0' && *port != ':') ||
		(*port == ':' && (port[1] == '\0' || port[1 + strspn(port + 1, "0123456789")] != '\0' ||
						  strlen(port) > 6 || atoi(port + 1) < 1 || atoi(port + 1) > 65535)))
		return failed(error, size, "the option \"url\" is not nats://host:port", "");
	if (strpbrk(host, "/?# ") != NULL)
		return failed(error, size, "the option \"url\" is not nats://host:port", "");
	if (asprintf(&config->servers[n], "%s://%s%s", tls ? "tls" : "nats", host,
				 *port == '\0' ? ":4222" : "") < 0)
		config->servers[n] = NULL;
	config->hosts[n] = host[0] == '[' ? strndup(host + 1, host_len - 2) : strndup(host, host_len);
	config->tls[n] = tls;
	config->nservers++;
	if (config->servers[n] == NULL || config->hosts[n] == NULL)
		return failed(error, size, "out of memory", "");
	return true;
}

static bool
read_servers(NatsConfig *config, const char *urls, char *error, size_t size)
{
	while (*urls != '\0')
	{
		size_t len = strcspn(urls, ",");
		bool tls = strncmp(urls, "tls://", 6) == 0, ok;
		char *copy;

		if (!tls && strncmp(urls, "nats://", 7) != 0)
			return failed(error, size, "the option \"url\" begins with neither nats:// nor tls://",
						  "");
		if (config->nservers == NATS_SERVERS_MAX)
			return failed(error, size, "the option \"url\" has too many servers", "");
		if (len < 7)
			return failed(error, size, "the option \"url\" is not nats://host:port", "");
		copy = strndup(urls + (tls ? 6 : 7), len - (tls ? 6 : 7));
		if (copy == NULL)
			return failed(error, size, "out of memory", "");
		ok = read_authority(config, copy, tls, error, size);
		free(copy);
		if (!ok)
			return false;
		urls += len;
		urls += strspn(urls, ", ");
	}
	return config->nservers > 0 || failed(error, size, "the option \"url\" is empty", "");
}

static bool
stream_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < 256 && strpbrk(name, ".*>/\\ \t\r\n") == NULL;
}

bool
nats_config_read(const UsherSinkContext *context, NatsConfig *config, char *error, size_t size)
{
	const char *stream = usher_option(context, "", "stream", "USHER");

	memset(config, 0, sizeof(*config));
	config->user = copy_or_null(usher_option(context, "", "username", NULL));
	config->password = copy_or_null(usher_option(context, "", "password", NULL));
	config->token = copy_or_null(usher_option(context, "", "token", NULL));
	config->credentials = copy_or_null(usher_option(context, "", "credentials", NULL));
	config->ca_file = copy_or_null(usher_option(context, "", "ca_file", NULL));
	config->cert_file = copy_or_null(usher_option(context, "", "cert_file", NULL));
	config->key_file = copy_or_null(usher_option(context, "", "key_file", NULL));
	config->subjects = copy_or_null(usher_option(context, "", "subjects", NULL));
	config->create_stream = usher_option_bool(context, "", "create_stream", false);
	config->expect_stream = usher_option_bool(context, "", "expect_stream", true);
	config->in_memory = strcmp(usher_option(context, "", "storage", "file"), "memory") == 0;
	config->replicas = (int) usher_option_int(context, "", "replicas", 1);
	config->duplicate_window_ms = usher_option_int(context, "", "duplicate_window_ms", 0);
	config->connect_timeout_ms = (int) usher_option_int(context, "", "connect_timeout_ms",
														CONNECT_TIMEOUT_MS);
	config->timeout_ms = (int) usher_option_int(context, "", "timeout_ms", TIMEOUT_MS);
	config->structured = strcmp(usher_option(context, "", "mode", "binary"), "structured") == 0;
	config->in_flight = usher_option_int(context, "", "in_flight", IN_FLIGHT);
	config->position = context->position;
	config->lanes = context->lanes > 0 ? context->lanes : 1;
	config->replay = context->replay;
	snprintf(config->id_prefix, sizeof(config->id_prefix), "%.80s.%d.", context->log_id,
			 context->sink_id);
	if (!stream_name_ok(stream))
		return failed(error, size, "the option \"stream\" is not the name of a stream", "");
	if (config->create_stream && config->subjects == NULL)
		return failed(error, size, "the option \"create_stream\" needs the option \"subjects\"",
					  "");
	if (config->cert_file != NULL && config->key_file == NULL)
		return failed(error, size, "the option \"cert_file\" needs the option \"key_file\"", "");
	config->stream = strdup(stream);
	if (asprintf(&config->name, "pg_usher/%.80s/%d", context->sink, context->lane) < 0)
		config->name = NULL;
	if (config->stream == NULL || config->name == NULL)
		return failed(error, size, "out of memory", "");
	return read_servers(config, usher_option(context, "", "url", "nats://127.0.0.1:4222"), error,
						size);
}

static void
forget(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void
nats_config_free(NatsConfig *config)
{
	for (int i = 0; i < config->nservers; i++)
	{
		free(config->servers[i]);
		free(config->hosts[i]);
	}
	free(config->user);
	forget(config->password);
	forget(config->token);
	forget(config->credentials);
	free(config->ca_file);
	free(config->cert_file);
	free(config->key_file);
	free(config->stream);
	free(config->subjects);
	free(config->name);
}

/* ---- what libnats says ---- */

const char *
nats_status_code(natsStatus status)
{
	switch (status)
	{
		case NATS_CONNECTION_AUTH_FAILED:
			return "AUTH";
		case NATS_NOT_PERMITTED:
			return "NOT_PERMITTED";
		case NATS_TIMEOUT:
			return "TIMEOUT";
		case NATS_SSL_ERROR:
		case NATS_SECURE_CONNECTION_WANTED:
		case NATS_SECURE_CONNECTION_REQUIRED:
			return "TLS";
		case NATS_PROTOCOL_ERROR:
			return "PROTOCOL";
		case NATS_NO_MEMORY:
			return "MEMORY";
		case NATS_NO_RESPONDERS:
			return "NO_RESPONDERS";
		default:
			return "CONNECTION";
	}
}

/* Of this thread's last call, without the place in libnats' sources: (file.c:123): */
const char *
nats_last_text(void)
{
	natsStatus status;
	const char *text = nats_GetLastError(&status), *end;

	if (text == NULL || text[0] == '\0')
		return natsStatus_GetText(status);
	end = text[0] == '(' ? strstr(text, "): ") : NULL;
	return end != NULL ? end + 3 : text;
}

/* ---- credentials ---- */

/* The line behind the one that has `header`. */
static char *
credential(const char *text, const char *header)
{
	const char *at = strstr(text, header);

	if (at == NULL || (at = strchr(at, '\n')) == NULL)
		return NULL;
	at += strspn(at, "\r\n ");
	return strndup(at, strcspn(at, "\r\n "));
}

static natsStatus
give_jwt(char **jwt, char **error_text, void *closure)
{
	*jwt = credential(closure, "BEGIN NATS USER JWT");
	if (*jwt == NULL)
		*error_text = strdup("the credentials have no user JWT");
	return *jwt != NULL ? NATS_OK : NATS_ERR;
}

static natsStatus
give_signature(char **error_text, unsigned char **signature, int *len, const char *nonce,
			   void *closure)
{
	char *seed = credential(closure, "BEGIN USER NKEY SEED");
	natsStatus status = seed != NULL ? nats_Sign(seed, nonce, signature, len) : NATS_ERR;

	if (status != NATS_OK)
		*error_text = strdup("the credentials have no valid seed");
	forget(seed);
	return status;
}

/* ---- connections ---- */

static natsStatus
set_tls(natsOptions *o, const NatsConfig *config, int server)
{
	bool any = config->tls[server] || config->ca_file != NULL || config->cert_file != NULL;
	natsStatus status = NATS_OK;

	/* Also for a server that asks for TLS of its own accord. */
	status = natsOptions_SetExpectedHostname(o, config->hosts[server]);
	if (status == NATS_OK && any)
		status = natsOptions_SetSecure(o, true);
	if (status == NATS_OK && config->ca_file != NULL)
		status = natsOptions_LoadCATrustedCertificates(o, config->ca_file);
	if (status == NATS_OK && config->cert_file != NULL)
		status = natsOptions_LoadCertificatesChain(o, config->cert_file, config->key_file);
	return status;
}

static natsStatus
set_user(natsOptions *o, const NatsConfig *config)
{
	natsStatus status = NATS_OK;

	if (config->user != NULL || config->password != NULL)
		status = natsOptions_SetUserInfo(o, config->user ? config->user : "",
										 config->password ? config->password : "");
	if (status == NATS_OK && config->token != NULL)
		status = natsOptions_SetToken(o, config->token);
	if (status == NATS_OK && config->credentials != NULL)
		status = natsOptions_SetUserCredentialsCallbacks(o, give_jwt, config->credentials,
														 give_signature, config->credentials);
	return status;
}

natsStatus
nats_connect(natsConnection **connection, const NatsConfig *config, int server,
			 natsStatus (*more)(natsOptions *, void *), void *arg)
{
	natsOptions *o = NULL;
	natsStatus status = natsOptions_Create(&o);

	if (status == NATS_OK)
		status = natsOptions_SetURL(o, config->servers[server]);
	if (status == NATS_OK)
		status = natsOptions_SetName(o, config->name);
	if (status == NATS_OK)
		status = natsOptions_SetTimeout(o, config->connect_timeout_ms);
	/* What was in flight must be sent again in its order: that is the relay's business. */
	if (status == NATS_OK)
		status = natsOptions_SetAllowReconnect(o, false);
	if (status == NATS_OK)
		status = natsOptions_SetIgnoreDiscoveredServers(o, true);
	if (status == NATS_OK)
		status = natsOptions_SetIOBufSize(o, IO_BUFFER);
	if (status == NATS_OK)
		status = natsOptions_SetPingInterval(o, 0);
	if (status == NATS_OK)
		status = set_user(o, config);
	if (status == NATS_OK)
		status = set_tls(o, config, server);
	if (status == NATS_OK && more != NULL)
		status = more(o, arg);
	if (status == NATS_OK)
		status = natsConnection_Connect(connection, o);
	natsOptions_Destroy(o);
	return status;
}
