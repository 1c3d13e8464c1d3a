/*
 * gateway/ticket.c
 *	  Tickets: who asks, for clients that cannot send headers.
 *
 * Each use asks the database.  A revocation of the session, user, key or tenant
 * ends what a ticket stands for as it ends the token.
 */
#include "ticket.h"

#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "db.h"
#include "lib/sha256.h"
#include "limit.h"
#include "usherd.h"

static const char unknown[] = "the ticket is not known, was used, or has expired";

typedef struct TicketUse
{
	unsigned char digest[SHA256_BYTES];
	Address address; /* where it was shown, which it counts for when it is wrong */
	identity_done done;
	void *context;
} TicketUse;

static const DbStatement use_statement = {
	.name = "use_ticket",
	.sql =
		"SELECT tenant, user_id, session, actor_type, is_key, rate_class, roles, scopes, issued_at, expires_at"
		" FROM usher.gateway_use_ticket($1, $2)",
	.nparams = 2,
};

void
ticket_make(char ticket[TICKET_BYTES + 1])
{
	memcpy(ticket, TICKET_PREFIX, sizeof(TICKET_PREFIX) - 1);
	usherd_random_hex(ticket + sizeof(TICKET_PREFIX) - 1, TICKET_DIGITS);
}

/* NULL: the row is not what it should be. */
static Identity *
identity_of_row(const PGresult *result)
{
	IdentityParts parts;
	const char *roles = PQgetvalue(result, 0, 6), *scopes = PQgetvalue(result, 0, 7);

	memset(&parts, 0, sizeof(parts));
	parts.tenant = PQgetvalue(result, 0, 0);
	parts.user = PQgetvalue(result, 0, 1);
	parts.session = PQgetvalue(result, 0, 2);
	parts.actor_type = PQgetvalue(result, 0, 3);
	parts.is_key = PQgetvalue(result, 0, 4)[0] == 't';
	parts.rate_class = PQgetvalue(result, 0, 5);
	parts.issued_at = strtoll(PQgetvalue(result, 0, 8), NULL, 10);
	parts.expires_at = strtoll(PQgetvalue(result, 0, 9), NULL, 10);
	if (!identity_tenant_valid(parts.tenant, strlen(parts.tenant)) ||
		!identity_add_roles(&parts, roles, strlen(roles)) ||
		!identity_add_scopes(&parts, scopes, strlen(scopes)))
		return NULL;
	return identity_make(&parts);
}

static void
used(void *context, DbOutcome outcome, PGresult *result)
{
	TicketUse *use = context;
	Identity *identity = NULL;
	IdentityOutcome answer = IDENTITY_UNAVAILABLE;
	const char *reason = NULL;

	if (outcome == DB_DONE)
	{
		if (PQntuples(result) == 1)
			identity = identity_of_row(result);
		if (identity == NULL)
			reason = unknown;
		else if (identity_is_revoked(identity))
			reason = "the credential was revoked";
		answer = reason ? IDENTITY_INVALID : IDENTITY_OK;
		if (reason)
			limit_wrong_credential(&use->address, limit_clock());
	}
	if (answer != IDENTITY_OK)
	{
		identity_release(identity);
		identity = NULL;
	}
	use->done(use->context, answer, identity, reason);
	free(use);
}

IdentityOutcome
ticket_identity(Slice ticket, const char *kind, const Address *address, const char **reason,
				identity_done done, void *context)
{
	LimitAnswer may;
	DbCall call = {.statement = &use_statement, .tenant = "", .done = used};
	TicketUse *use;

	if (!control_ready() || !db_ready())
		return IDENTITY_UNAVAILABLE;
	if (ticket.len != TICKET_BYTES ||
		memcmp(ticket.data, TICKET_PREFIX, sizeof(TICKET_PREFIX) - 1) != 0)
	{
		*reason = unknown;
		return IDENTITY_INVALID;
	}
	if (!limit_may_try_credential(address, limit_clock(), &may))
		return IDENTITY_LIMITED;
	use = calloc(1, sizeof(TicketUse));
	if (use == NULL)
		abort();
	use->address = *address;
	use->done = done;
	use->context = context;
	sha256(ticket.data, ticket.len, use->digest);
	call.context = use;
	call.values[0] = (const char *) use->digest;
	call.lengths[0] = SHA256_BYTES;
	call.formats[0] = 1;
	call.values[1] = kind;
	db_submit(LANE_READ, &call);
	return IDENTITY_PENDING;
}
