/*
 * bench/src/rush_plan.h
 *		What bench/src/rush.c will ask: who asks for how many, which requests are repeated, and their bytes.
 *
 * A plan is made before the clock starts, with every user's token; while it runs a request is a few memcpy. The users
 * ask in a mixed order, once around and again. A share of the requests repeats an earlier one: half of these with its
 * key, as a client does that has lost patience, half with a key of their own, as a user does who wants more.
 *
 * A template is the text of a request in which @TOKEN@, @KEY@, @USER@ and @N@ stand for what differs. All have one length
 * (a user has seven digits, a key 32 characters, a quantity one digit), so Content-Length is part of the template.
 */
#ifndef RUSH_PLAN_H
#define RUSH_PLAN_H

#include "bench.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define REQUEST_MAX 4096
#define PARTS_MAX   16
#define SECRET_MAX  256
#define USER_DIGITS 7
#define KEY_LENGTH  32
#define NEAR        20000 /* how far behind the first a repeat is, at most */

enum
{
	PART_TEXT,
	PART_TOKEN,
	PART_KEY,
	PART_USER,
	PART_QUANTITY,
	PARTS
};

typedef struct Part
{
	int kind;
	const char *text;
	size_t length;
} Part;

typedef struct Asked
{
	uint32_t user;
	uint32_t key; /* its number in the plan, or that of the one it repeats */
	uint8_t quantity;
} Asked;

typedef struct Secret
{
	unsigned char bytes[SECRET_MAX];
	int length;
} Secret;

typedef struct Plan
{
	Part part[PARTS_MAX];
	int parts;
	Asked *asked;
	uint32_t count;
	uint32_t users;
	char *tokens; /* of all users, token_length each */
	size_t token_length;
	uint32_t seed;
	int backwards; /* the last one first */
} Plan;

static char *
read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, REQUEST_MAX);
	size_t length;

	if (file == NULL || text == NULL)
		die("cannot read %s", path);
	length = fread(text, 1, REQUEST_MAX, file);
	if (length == REQUEST_MAX)
		die("%s is too long", path);
	fclose(file);
	return text;
}

static void
part_add(Plan *plan, int kind, const char *text, size_t length)
{
	if (length == 0)
		return;
	if (plan->parts == PARTS_MAX)
		die("too many parts in the template");
	plan->part[plan->parts++] = (Part){kind, text, length};
}

static void
plan_template(Plan *plan, const char *text)
{
	static const char *const marks[PARTS] = {"", "@TOKEN@", "@KEY@", "@USER@", "@N@"};
	const char *begin = text, *at = text;

	while ((at = strchr(at, '@')) != NULL)
	{
		int kind = PARTS - 1;

		while (kind > PART_TEXT && strncmp(at, marks[kind], strlen(marks[kind])) != 0)
			kind--;
		if (kind == PART_TEXT)
		{
			at++;
			continue;
		}
		part_add(plan, PART_TEXT, begin, (size_t) (at - begin));
		part_add(plan, kind, "", 1);
		begin = at += strlen(marks[kind]);
	}
	part_add(plan, PART_TEXT, begin, strlen(begin));
}

static int
plan_has(const Plan *plan, int kind)
{
	for (int i = 0; i < plan->parts; i++)
		if (plan->part[i].kind == kind)
			return 1;
	return 0;
}

/* base64url without padding; returns its length. */
static size_t
base64url(char *to, const unsigned char *from, size_t length)
{
	size_t n = (size_t) EVP_EncodeBlock((unsigned char *) to, from, (int) length);

	while (n > 0 && to[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		to[i] = to[i] == '+' ? '-' : to[i] == '/' ? '_' : to[i];
	return n;
}

static size_t
token_make(char *to, const char *header, const char *claims, const Secret *secret, uint32_t user)
{
	const char *mark = strstr(claims, "@USER@");
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[REQUEST_MAX];
	unsigned digest_length;
	size_t n;

	if (mark == NULL)
		die("the claims have no @USER@");
	snprintf(text, sizeof(text), "%.*s%0*u%s", (int) (mark - claims), claims, USER_DIGITS, user,
			 mark + strlen("@USER@"));
	n = base64url(to, (const unsigned char *) header, strlen(header));
	to[n++] = '.';
	n += base64url(to + n, (const unsigned char *) text, strlen(text));
	HMAC(EVP_sha256(), secret->bytes, secret->length, (unsigned char *) to, n, digest,
		 &digest_length);
	to[n++] = '.';
	return n + base64url(to + n, digest, digest_length);
}

/* Every user's token, signed with HS256; header and claims are JSON, the secret is hexadecimal. */
static void
plan_tokens(Plan *plan, const char *header, const char *claims, const char *hex)
{
	Secret bytes = {.length = (int) strlen(hex) / 2}, *secret = &bytes;
	char token[2 * REQUEST_MAX];

	for (int i = 0; i < secret->length; i++)
		if (i == SECRET_MAX || sscanf(hex + 2 * i, "%2hhx", &secret->bytes[i]) != 1)
			die("the secret is not hexadecimal, or too long");

	plan->token_length = token_make(token, header, claims, secret, 0);
	plan->tokens = malloc(plan->users * plan->token_length);
	if (plan->tokens == NULL || plan->token_length > REQUEST_MAX / 2)
		die("no room for %u tokens", plan->users);
	for (uint32_t user = 0; user < plan->users; user++)
	{
		if (token_make(token, header, claims, secret, user) != plan->token_length)
			die("the tokens differ in length");
		memcpy(plan->tokens + user * plan->token_length, token, plan->token_length);
	}
}

static uint32_t
common_divisor(uint32_t a, uint32_t b)
{
	return b == 0 ? a : common_divisor(b, a % b);
}

/* Who asks for what; `again` per cent repeat another one. */
static void
plan_requests(Plan *plan, int quantity_max, int again)
{
	uint64_t state = plan->seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	uint32_t step = plan->users / 3 * 2 + 1, fresh = 0;

	while (common_divisor(step, plan->users) != 1)
		step++;
	plan->asked = malloc(plan->count * sizeof(Asked));
	if (plan->asked == NULL)
		die("no room for %u requests", plan->count);
	for (uint32_t i = 0; i < plan->count; i++)
	{
		Asked *asked = &plan->asked[i];

		asked->key = i;
		asked->quantity = (uint8_t) (1 + random_next(&state) % (uint64_t) quantity_max);
		if (i > 0 && random_next(&state) % 100 < (uint64_t) again)
		{
			uint32_t other = i - 1 - (uint32_t) (random_next(&state) % (i < NEAR ? i : NEAR));

			asked->user = plan->asked[other].user;
			if (random_next(&state) % 2 == 0)
				*asked = plan->asked[other];
		}
		else
			asked->user = (uint32_t) ((uint64_t) fresh++ * step % plan->users);
	}
}

/* The index of the request that a request repeats, or its own. */
static uint32_t
plan_first(const Plan *plan, uint32_t n)
{
	uint32_t key = plan->asked[n].key;

	return plan->backwards ? plan->count - 1 - key : key;
}

/* The same requests, with the same keys, from the last to the first. */
static void
plan_reverse(Plan *plan)
{
	plan->backwards = 1;
	for (uint32_t i = 0; i < plan->count / 2; i++)
	{
		Asked asked = plan->asked[i];

		plan->asked[i] = plan->asked[plan->count - 1 - i];
		plan->asked[plan->count - 1 - i] = asked;
	}
}

/* 32 characters; another plan has others. */
static void
plan_key(const Plan *plan, uint32_t n, char *to)
{
	char text[KEY_LENGTH + 1];

	snprintf(text, sizeof(text), "rush-%08x-%018u", plan->seed, plan->asked[n].key);
	memcpy(to, text, KEY_LENGTH);
}

static size_t
plan_bytes(const Plan *plan, uint32_t n, char *to)
{
	const Asked *asked = &plan->asked[n];
	char *begin = to, digits[16];

	for (int i = 0; i < plan->parts; i++)
	{
		const Part *part = &plan->part[i];

		switch (part->kind)
		{
			case PART_TEXT:
				memcpy(to, part->text, part->length);
				to += part->length;
				break;
			case PART_TOKEN:
				memcpy(to, plan->tokens + asked->user * plan->token_length, plan->token_length);
				to += plan->token_length;
				break;
			case PART_KEY:
				plan_key(plan, n, to);
				to += KEY_LENGTH;
				break;
			case PART_USER:
				snprintf(digits, sizeof(digits), "%0*u", USER_DIGITS, asked->user);
				memcpy(to, digits, USER_DIGITS);
				to += USER_DIGITS;
				break;
			default:
				*to++ = (char) ('0' + asked->quantity);
		}
	}
	return (size_t) (to - begin);
}

#endif /* RUSH_PLAN_H */
