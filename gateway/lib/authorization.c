/*
 * gateway/lib/authorization.c
 *	  `Bearer TOKEN`, `Bearer usk_...`, `ApiKey usk_...` (RFC 6750: one scheme, blanks, one credential).
 */
#include "authorization.h"

#include <string.h>
#include <strings.h>

static AuthorizationKind
bad(const char **reason, const char *why)
{
	*reason = why;
	return AUTHORIZATION_BAD;
}

/* token68 of RFC 7235, without its padding. */
static const bool credential_characters[256] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true,
	['_'] = true,         ['~'] = true,         ['+'] = true,         ['/'] = true,
};

static bool
is_credential(Slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!credential_characters[(unsigned char) text.data[i]])
			return false;
	return text.len > 0;
}

static bool
is_key(Slice text)
{
	const size_t n = sizeof(API_KEY_PREFIX) - 1;

	return text.len >= n && memcmp(text.data, API_KEY_PREFIX, n) == 0;
}

static bool
scheme_is(Slice value, const char *scheme, size_t len)
{
	return value.len > len && strncasecmp(value.data, scheme, len) == 0 && value.data[len] == ' ';
}

AuthorizationKind
authorization_parse(Slice value, Slice *credential, const char **reason)
{
	bool bearer;
	size_t at;

	if (value.data == NULL)
		return AUTHORIZATION_NONE;
	bearer = scheme_is(value, "Bearer", 6);
	if (!bearer && !scheme_is(value, "ApiKey", 6))
		return bad(reason, "the scheme of Authorization is neither Bearer nor ApiKey");
	at = 6;
	while (at < value.len && value.data[at] == ' ')
		at++;
	while (value.len > at && value.data[value.len - 1] == ' ')
		value.len--;
	credential->data = value.data + at;
	credential->len = value.len - at;
	if (!is_credential(*credential))
		return bad(reason, "Authorization holds no single credential");
	if (!is_key(*credential))
		return bearer ? AUTHORIZATION_TOKEN : bad(reason, "an API key begins with usk_");
	if (credential->len < API_KEY_BYTES_MIN || credential->len > API_KEY_BYTES_MAX)
		return bad(reason, "the API key is too short or too long");
	return AUTHORIZATION_KEY;
}
