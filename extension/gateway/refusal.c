/*
 * extension/gateway/refusal.c
 *	  What is wrong with an element becomes its result.
 *
 * Only for steps that hold nothing (no lock that an abort would have to give
 * back, no open relation, no pushed snapshot) where they raise one of the
 * errors below: no savepoint is rolled back here.
 */
#include "gateway/gateway.h"

#include "utils/memutils.h"

static bool
clients_matter(int sqlstate)
{
	static const int codes[] = {
		ERRCODE_USHER_WRONG_EXPECTED_VERSION,
		ERRCODE_USHER_STREAM_DELETED,
		ERRCODE_USHER_EVENT_ID_CONFLICT,
		ERRCODE_USHER_INVALID_NAME,
		ERRCODE_USHER_INVALID_EVENT_DATA,
		ERRCODE_USHER_EVENT_TOO_LARGE,
		ERRCODE_USHER_TOO_MANY_EVENTS,
		ERRCODE_USHER_UNKNOWN_TENANT,
		ERRCODE_USHER_INVALID_ARGUMENT,
		ERRCODE_USHER_IDEMPOTENCY_CONFLICT,
		ERRCODE_USHER_REQUEST_IN_PROGRESS,
		ERRCODE_STATEMENT_TOO_COMPLEX, /* JSON that is too deep */
		ERRCODE_PROGRAM_LIMIT_EXCEEDED, /* or has a string that is too long */
	};

	for (int i = 0; i < (int) lengthof(codes); i++)
		if (codes[i] == sqlstate)
			return true;
	return false;
}

/* Whether the step went well; else request->refusal says why not. */
bool
usher_request_try(UsherRequest *request, UsherRequestStep step, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		step(request, arg);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!clients_matter(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			error->sqlerrcode = ERRCODE_USHER_INVALID_EVENT_DATA;
		request->refusal = error;
	}
	PG_END_TRY();
	return request->refusal == NULL;
}
