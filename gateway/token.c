/*
 * gateway/token.c
 *	  usherd token, usherd keygen: tokens for development, and a first key to sign them with.
 *
 * Programs of their own under usherd's name: they read the configuration, print,
 * and end.  A token is verified as usherd would before it is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "lib/jwt.h"
#include "usherd.h"

#define WORDS_MAX 64

static const char token_help[] =
	"usherd token [-c FILE] [--tenant NAME] [--user ID] [--scope SCOPE]... [--role ROLE]...\n"
	"             [--session ID] [--service] [--ttl SECONDS] [--kid KEY] [--SETTING=VALUE]...\n"
	"Prints a JSON Web Token, signed with a key of jwt_keys that has its private part.\n"
	"Without --tenant it is for the tenant \"default\", without --scope it may do everything (\"*\"),\n"
	"and it is valid for an hour.  `usherd keygen` makes a key.\n";

static const char keygen_help[] =
	"usherd keygen [--alg ES256|RS256|PS256|HS256] [--kid KEY] [FILE]\n"
	"Makes a new key with its private part: in a new FILE that only its owner can read, as a JWKS,\n"
	"or on standard output.\n"
	"usherd keygen --public FILE\n"
	"Prints the public parts of the keys of FILE (or directory), as a JWKS.\n";

typedef struct Wish
{
	const char *tenant, *user, *session, *kid, *ttl;
	const char *scopes[WORDS_MAX], *roles[WORDS_MAX];
	int nscopes, nroles;
	bool service;
} Wish;

static int
fail(const char *what, const char *more)
{
	fprintf(stderr, "usherd: %s%s\n", what, more);
	return 1;
}

/* `--name VALUE` or `--name=VALUE`: the value; *i moves behind it.  NULL: it is another, or has no value. */
static const char *
value_of(const char *name, int argc, char **argv, int *i)
{
	const char *argument = argv[*i];
	size_t len = strlen(name);

	if (strncmp(argument, name, len) != 0)
		return NULL;
	if (argument[len] == '=')
		return argument + len + 1;
	return argument[len] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static bool
take_word(const char *value, const char **words, int *n)
{
	if (value != NULL && *n < WORDS_MAX)
		words[(*n)++] = value;
	return value != NULL;
}

static bool
take_text(const char *value, const char **text)
{
	if (value != NULL)
		*text = value;
	return value != NULL;
}

/* What is not a wish of ours is left for the configuration, in rest. */
static int
take_wishes(int argc, char **argv, Wish *wish, char **rest)
{
	int n = 0;

	rest[n++] = argv[0];
	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--service") == 0)
			wish->service = true;
		else if (!take_text(value_of("--tenant", argc, argv, &i), &wish->tenant) &&
				 !take_text(value_of("--user", argc, argv, &i), &wish->user) &&
				 !take_text(value_of("--session", argc, argv, &i), &wish->session) &&
				 !take_text(value_of("--kid", argc, argv, &i), &wish->kid) &&
				 !take_text(value_of("--ttl", argc, argv, &i), &wish->ttl) &&
				 !take_word(value_of("--scope", argc, argv, &i), wish->scopes, &wish->nscopes) &&
				 !take_word(value_of("--role", argc, argv, &i), wish->roles, &wish->nroles))
			rest[n++] = argv[i];
	}
	return n;
}

static json_t *
list_of(const char **words, int n)
{
	json_t *list = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_string(words[i]));
	return list;
}

static json_t *
claims_of(const Wish *wish, long ttl)
{
	json_int_t now = (json_int_t) time(NULL);
	json_t *claims = json_pack("{s:s, s:I, s:I}", "sub", wish->user, "iat", now, "exp", now + ttl);

	if (claims == NULL)
		return NULL;
	json_object_set_new(claims, config.jwt_tenant_claim, json_string(wish->tenant));
	json_object_set_new(claims, "scopes", list_of((const char **) wish->scopes, wish->nscopes));
	if (wish->nroles > 0)
		json_object_set_new(claims, "roles", list_of((const char **) wish->roles, wish->nroles));
	if (wish->session != NULL)
		json_object_set_new(claims, "sid", json_string(wish->session));
	if (wish->service)
		json_object_set_new(claims, "actor_type", json_string("service"));
	if (config.jwt_issuer[0] != '\0')
		json_object_set_new(claims, "iss", json_string(config.jwt_issuer));
	if (config.jwt_audience[0] != '\0')
		json_object_set_new(claims, "aud", json_string(config.jwt_audience));
	return claims;
}

/* Would usherd take it? */
static bool
accepted(const KeySet *keys, const char *token, const char **reason)
{
	JwtRules rules = {config.jwt_issuer, config.jwt_audience, config.jwt_tenant_claim,
					  config.jwt_default_tenant, config.jwt_skew_seconds};
	Identity *identity = jwt_verify(keys, &rules, token, strlen(token), (double) time(NULL),
									reason);
	bool taken = identity != NULL;

	identity_release(identity);
	return taken;
}

static int
print_token(const KeySet *keys, const Wish *wish, long ttl)
{
	const Key *key = keys_signing(keys, wish->kid);
	const char *reason = "the key cannot sign, or an argument is not UTF-8";
	json_t *claims = claims_of(wish, ttl);
	char *token = key && claims ? jwt_sign(key, claims) : NULL;
	int status = 0;

	if (key == NULL)
		status = fail("no key of jwt_keys has a private part", wish->kid ? " and that id" : "");
	else if (token == NULL || !accepted(keys, token, &reason))
		status = fail("usherd would not take this token: ", reason);
	else
		puts(token);
	json_decref(claims);
	free(token);
	return status;
}

static int
token_program(int argc, char **argv)
{
	Wish wish = {.tenant = "default", .user = "developer", .ttl = "3600"};
	char **rest = calloc((size_t) argc + 1, sizeof(char *)), error[512], *end;
	ConfigAction action = CONFIG_RUN;
	KeySet *keys;
	long ttl;
	int n, status;

	if (rest == NULL)
		abort();
	n = take_wishes(argc, argv, &wish, rest);
	if (wish.nscopes == 0)
		wish.scopes[wish.nscopes++] = "*";
	ttl = strtol(wish.ttl, &end, 10);
	if (end == wish.ttl || *end != '\0' || ttl < 1 || ttl > 10L * 365 * 86400)
		return fail("--ttl is a number of seconds, from 1 to ten years", "");
	if (!config_load(n, rest, &action, error, sizeof(error)))
		return fail(error, "");
	if (action != CONFIG_RUN)
	{
		fputs(token_help, stdout);
		return 0;
	}
	if (config.jwt_keys[0] == '\0')
		return fail("no keys are configured: `usherd keygen FILE` makes one, and ",
					"`jwt_keys = FILE` names it");
	keys = keys_load(config.jwt_keys, error, sizeof(error));
	if (keys == NULL)
		return fail(error, "");
	status = print_token(keys, &wish, ttl);
	keys_free(keys);
	free(rest);
	return status;
}

static int
print_public(const char *path)
{
	char error[512];
	KeySet *keys = keys_load(path, error, sizeof(error));
	json_t *public;

	if (keys == NULL)
		return fail(error, "");
	public = keys_public(keys);
	json_dumpf(public, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(public);
	keys_free(keys);
	return 0;
}

/* path NULL: standard output. */
static int
write_key(const char *path, KeyAlgorithm algorithm, const char *kid)
{
	json_t *key = keys_generate(algorithm, kid), *set;
	int fd = STDOUT_FILENO, status = 0;

	if (key == NULL)
		return fail("the key could not be made", "");
	if (path != NULL)
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
	{
		json_decref(key);
		return fail(path,
					errno == EEXIST ? ": there is such a file already" : ": cannot be written");
	}
	set = json_pack("{s:[o]}", "keys", key);
	if (json_dumpfd(set, fd, JSON_INDENT(2)) != 0 || write(fd, "\n", 1) != 1)
		status = fail("the key cannot be written", "");
	if (path != NULL && (fsync(fd) != 0 || close(fd) != 0))
		status = fail(path, ": cannot be written");
	json_decref(set);
	return status;
}

static int
keygen_program(int argc, char **argv)
{
	const char *algorithm = "ES256", *kid = NULL, *public = NULL, *path = NULL;
	char today[32];
	time_t now = time(NULL);

	for (int i = 1; i < argc; i++)
		if (!take_text(value_of("--alg", argc, argv, &i), &algorithm) &&
			!take_text(value_of("--kid", argc, argv, &i), &kid) &&
			!take_text(value_of("--public", argc, argv, &i), &public))
		{
			if (argv[i][0] == '-' || path != NULL)
			{
				fputs(keygen_help, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
				return strcmp(argv[i], "--help") != 0;
			}
			path = argv[i];
		}
	if (public != NULL)
		return print_public(public);
	if (keys_algorithm(algorithm) == KEY_NO_ALGORITHM)
	{
		fputs(keygen_help, stderr);
		return 1;
	}
	strftime(today, sizeof(today), "%Y-%m-%d", gmtime(&now));
	return write_key(path, keys_algorithm(algorithm), kid ? kid : today);
}

int
token_main(int argc, char **argv)
{
	return strcmp(argv[0], "keygen") == 0 ? keygen_program(argc, argv) : token_program(argc, argv);
}
