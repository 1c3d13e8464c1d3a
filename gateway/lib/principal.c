/*
 * gateway/lib/principal.c
 *	  Identities: made in one block, counted, freed with the last one who holds them.
 */
#include "principal.h"

#include <stdlib.h>
#include <string.h>

static int64_t last_id;

static size_t
text_bytes(const char *text)
{
	return (text == NULL ? 0 : strlen(text)) + 1;
}

static size_t
list_bytes(const size_t *lens, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += lens[i] + 1 + sizeof(char *);
	return bytes;
}

/* Copies to *at, and moves it behind the copy. */
static char *
put(char **at, const char *text, size_t len)
{
	char *copy = *at;

	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	*at += len + 1;
	return copy;
}

static char *
put_text(char **at, const char *text)
{
	return put(at, text, text_bytes(text) - 1);
}

Identity *
identity_make(const IdentityParts *parts)
{
	size_t bytes = sizeof(Identity) + text_bytes(parts->tenant) + text_bytes(parts->user) +
				   text_bytes(parts->session) + text_bytes(parts->actor_type) +
				   text_bytes(parts->rate_class) + list_bytes(parts->role_lens, parts->nroles) +
				   list_bytes(parts->scope_lens, parts->nscopes);
	Identity *identity = malloc(bytes);
	char *at;

	if (identity == NULL)
		abort();
	memset(identity, 0, sizeof(*identity));
	identity->references = 1;
	identity->anonymous = parts->anonymous;
	identity->is_key = parts->is_key;
	identity->issued_at = parts->issued_at;
	identity->expires_at = parts->expires_at;
	identity->id = ++last_id;
	identity->bytes = bytes;
	identity->roles = (char **) (identity + 1);
	identity->nroles = parts->nroles;
	identity->scopes = identity->roles + parts->nroles;
	identity->nscopes = parts->nscopes;
	at = (char *) (identity->scopes + parts->nscopes);
	identity->tenant = put_text(&at, parts->tenant);
	identity->user = put_text(&at, parts->user);
	identity->session = put_text(&at, parts->session);
	identity->actor_type = put_text(&at, parts->actor_type);
	identity->rate_class = put_text(&at, parts->rate_class);
	for (int i = 0; i < parts->nroles; i++)
		identity->roles[i] = put(&at, parts->roles[i], parts->role_lens[i]);
	for (int i = 0; i < parts->nscopes; i++)
		identity->scopes[i] = put(&at, parts->scopes[i], parts->scope_lens[i]);
	return identity;
}

Identity *
identity_keep(Identity *identity)
{
	identity->references++;
	return identity;
}

void
identity_release(Identity *identity)
{
	if (identity != NULL && --identity->references == 0)
		free(identity);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
add_words(const char **words, size_t *lens, int *n, int max, const char *text, size_t len)
{
	size_t at = 0;

	while (at < len)
	{
		size_t begin = at;
		bool known = false;

		while (at < len && !is_blank(text[at]))
			at++;
		for (int i = 0; i < *n && !known; i++)
			known = lens[i] == at - begin && memcmp(words[i], text + begin, at - begin) == 0;
		if (at > begin && !known)
		{
			if (*n == max)
				return false;
			words[*n] = text + begin;
			lens[(*n)++] = at - begin;
		}
		at++;
	}
	return true;
}

bool
identity_add_scopes(IdentityParts *parts, const char *text, size_t len)
{
	return add_words(parts->scopes, parts->scope_lens, &parts->nscopes, IDENTITY_SCOPES_MAX, text,
					 len);
}

bool
identity_add_roles(IdentityParts *parts, const char *text, size_t len)
{
	return add_words(parts->roles, parts->role_lens, &parts->nroles, IDENTITY_ROLES_MAX, text, len);
}

bool
identity_tenant_valid(const char *tenant, size_t len)
{
	if (len < 1 || len > 63)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char c = tenant[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			  (i > 0 && (c == '_' || c == '-'))))
			return false;
	}
	return true;
}
