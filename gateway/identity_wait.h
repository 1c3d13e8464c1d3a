/*
 * gateway/identity_wait.h
 *	  Who asks, while it is not known yet what was revoked.
 */
#ifndef USHERD_IDENTITY_WAIT_H
#define USHERD_IDENTITY_WAIT_H

#include "identity.h"

/*
 * As identity_of(), but where that says IDENTITY_UNAVAILABLE because the revocations are not known, and they may be
 * soon, this says IDENTITY_PENDING, and done() comes when they are, or behind queue_age_seconds.
 */
extern IdentityOutcome
identity_ask(Slice authorization, const Address *address, Identity **identity, const char **reason,
			 identity_done done, void *context);

extern void identity_wait_ends(void); /* they are known: control.c */

#endif /* USHERD_IDENTITY_WAIT_H */
