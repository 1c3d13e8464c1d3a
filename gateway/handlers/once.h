/*
 * gateway/handlers/once.h
 *	  Idempotency-Key: writes that have the same outcome however often they are sent.
 *
 * A key is one of (tenant, user); its outcome is kept in the commit that wrote
 * something, by usher.append_requests for appends and by usher.gateway_claim
 * and usher.gateway_keep for all others.
 */
#ifndef USHERD_ONCE_H
#define USHERD_ONCE_H

#include "../db.h"
#include "../request.h"

#define FINGERPRINT_BYTES 32

/*
 * The request's key, or an absent one; the fingerprint is over method, target and body.  false: it was replied.
 */
extern bool once_key(Request *request, Slice *key, unsigned char fingerprint[FINGERPRINT_BYTES]);

/*
 * A write as two statements: the plain one, and the one for requests with a key, which has two parameters more: the
 * key and the fingerprint.  Both give a row (fresh, response); not fresh, then nothing was done, and response is the
 * first one's.  `work` is a SELECT of one jsonb, with the tenant and the user as $1 and $2.
 */
#define ONCE_PLAIN(work) "SELECT true, (" work ")"
#define ONCE_KEYED(work, key, fingerprint)                                              \
	"SELECT c.fresh, CASE WHEN c.fresh THEN usher.gateway_keep($1, $2, " key ", (" work \
	")) ELSE c.response END"                                                            \
	" FROM usher.gateway_claim($1, $2, " key ", " fingerprint ") c"

/*
 * Sends it.  Nothing was done while another one with the key is at work, or when it ran into a deadlock: then it is
 * sent again for 5 seconds; and with a key once more when the connection ended before its outcome was known.
 * call: of the plain statement; its done() is called once, with the last outcome.
 */
extern void
once_submit(Request *request, DbLane lane, const DbStatement statements[2], const DbCall *call);

/* Of a row (fresh, response): says so in the reply's headers when it is a repeat, and returns it. */
extern bool once_tell(Request *request, const PGresult *result);

#endif /* USHERD_ONCE_H */
