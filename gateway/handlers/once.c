/*
 * gateway/handlers/once.c
 *	  Idempotency-Key: writes that have the same outcome however often they are sent.
 */
#include "once.h"

#include <ev.h>
#include <openssl/evp.h>
#include <string.h>

#include "../usherd.h"

#define RETRY_SECONDS     0.1
#define RETRY_SECONDS_MAX 5.0

typedef struct Once
{
	DbCall call; /* done() is ours */
	DbLane lane;
	void (*done)(void *context, DbOutcome outcome, PGresult *result);
	void (*then_done)(void *context, PGresult *result);
	void *context;
	bool keyed, lost;
	double deadline;
	ev_timer timer;
	unsigned char fingerprint[FINGERPRINT_BYTES];
} Once;

static void
fingerprint_of(const Request *request, unsigned char out[FINGERPRINT_BYTES])
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	EVP_DigestUpdate(digest, request->method_name.data, request->method_name.len);
	EVP_DigestUpdate(digest, "\n", 1);
	EVP_DigestUpdate(digest, request->target.data, request->target.len);
	EVP_DigestUpdate(digest, "\n", 1);
	EVP_DigestUpdate(digest, request->body.data, request->body.len);
	EVP_DigestFinal_ex(digest, out, NULL);
	EVP_MD_CTX_free(digest);
}

bool
once_key(Request *request, Slice *key, unsigned char fingerprint[FINGERPRINT_BYTES])
{
	*key = request_header(request, "idempotency-key");
	if (key->data == NULL)
		return true;
	if (key->len == 0 || key->len > 255 || !slice_is_text(*key))
	{
		reply_problem(request, 400, "invalid-header", NULL,
					  "Idempotency-Key has 1 to 255 bytes of UTF-8");
		return false;
	}
	fingerprint_of(request, fingerprint);
	return true;
}

/* Nothing was done, and soon it may be. */
static bool
is_passing(const PGresult *result)
{
	static const char *const states[] = {"US027", "40001", "40P01"};
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	for (size_t i = 0; sqlstate && i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(sqlstate, states[i]) == 0)
			return true;
	return false;
}

static void
again(struct ev_loop *loop, ev_timer *timer, int events)
{
	Once *once = timer->data;

	(void) loop, (void) events;
	db_submit(once->lane, &once->call);
}

static void
once_done(void *context, DbOutcome outcome, PGresult *result)
{
	Once *once = context;

	if (outcome == DB_REFUSED && is_passing(result) && db_now() < once->deadline)
	{
		ev_timer_set(&once->timer, RETRY_SECONDS, 0);
		ev_timer_start(usherd_loop, &once->timer);
	}
	else if (outcome == DB_LOST && once->keyed && !once->lost)
	{
		once->lost = true;
		ev_timer_set(&once->timer, RETRY_SECONDS, 0);
		ev_timer_start(usherd_loop, &once->timer);
	}
	else
		once->done(once->context, outcome == DB_UNSENT && once->lost ? DB_LOST : outcome, result);
}

static void
once_then_done(void *context, PGresult *result)
{
	Once *once = context;

	once->then_done(once->context, result);
}

void
once_submit(Request *request, DbLane lane, const DbStatement statements[2], const DbCall *call)
{
	Once *once = arena_zalloc(&request->arena, sizeof(Once));
	int n = statements[0].nparams;
	Slice key;

	if (!once_key(request, &key, once->fingerprint))
		return;
	once->call = *call;
	once->call.statement = &statements[key.data != NULL];
	once->call.done = once_done;
	once->call.then_done = call->then_done ? once_then_done : NULL;
	once->call.context = once;
	once->lane = lane;
	once->done = call->done;
	once->then_done = call->then_done;
	once->context = call->context;
	once->keyed = key.data != NULL;
	once->deadline = db_now() + RETRY_SECONDS_MAX;
	ev_timer_init(&once->timer, again, 0, 0);
	once->timer.data = once;
	if (once->keyed)
	{
		once->call.values[n] = arena_copy(&request->arena, key.data, key.len);
		once->call.values[n + 1] = (const char *) once->fingerprint;
		once->call.lengths[n + 1] = FINGERPRINT_BYTES;
		once->call.formats[n + 1] = 1;
	}
	db_submit(lane, &once->call);
}

bool
once_tell(Request *request, const PGresult *result)
{
	bool repeat = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 'f';

	if (repeat)
		reply_header(request, "Idempotency-Replayed", "true");
	return repeat;
}
