/*
 * gateway/lib/revocations.h
 *	  Who must come with a newer token: by session, user, key or tenant.
 *
 * Pure C.  A revocation says "what was issued before that time is refused", and
 * only a later time replaces it, so their order does not matter.  Memory is
 * bounded: when the table is full, the older half of the largest group (a
 * tenant's sessions, most likely) becomes one entry for the whole group, with
 * the latest time among them.  So a full table refuses more, never less.
 */
#ifndef USHERD_REVOCATIONS_H
#define USHERD_REVOCATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "principal.h"

typedef enum RevocationKind
{
	REVOKE_SESSION,
	REVOKE_USER,
	REVOKE_KEY,
	REVOKE_TENANT, /* its id is not looked at */
	REVOKE_KINDS
} RevocationKind;

#define REVOCATION_ID_MAX 255 /* bytes: no identity has more */

typedef struct Revocations Revocations;

extern Revocations *revocations_make(int max);
extern void revocations_free(Revocations *revocations);

/* false: there is no such kind. */
extern bool revocations_kind(const char *name, RevocationKind *kind);

extern void revocations_add(Revocations *revocations, const char *tenant, RevocationKind kind,
							const char *id, int64_t not_before);

/* Anonymous ones never are; what was issued at an unknown time (0) is by every revocation. */
extern bool revocations_has(const Revocations *revocations, const Identity *identity);

/* Rises with every change. */
extern uint64_t revocations_generation(const Revocations *revocations);
extern int revocations_count(const Revocations *revocations);

#endif /* USHERD_REVOCATIONS_H */
