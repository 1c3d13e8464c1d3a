/*
 * gateway/fanout_class.h
 *	  Clients of one transport that want the same of the same tenant: they share what is written.
 *
 * A Want is a filter that some subscription has, one for all that have the same text.  A Class is a set of them:
 * what a client's live subscriptions want together.  An event is matched once, against the wants of its tenant;
 * these name the classes, and only the clients of these are looked at.
 *
 *		event ─► tenant's index ─► wants ─► classes ─► clients
 */
#ifndef USHERD_FANOUT_CLASS_H
#define USHERD_FANOUT_CLASS_H

#include "fanout.h"
#include "lib/hash_table.h"
#include "lib/interest_index.h"

typedef struct Tenant Tenant;
typedef struct Class Class;

struct Want
{
	Hashed hashed; /* first */
	Interest interest;
	uint64_t serial; /* no other ever had it */
	Tenant *tenant;
	int users;
	Class **classes; /* whose set has it */
	int nclasses, size;
	size_t key_len;
	char key[]; /* the filter's text */
};

struct Class
{
	Hashed hashed; /* first */
	uint64_t serial;
	const Transport *transport;
	Tenant *tenant;
	int users;
	Client *clients; /* those that have everything up to the fan-out's position */
	int nclients; /* as many */
	uint64_t *events; /* of the ring, that are to be handed over in this round */
	int nevents, size;
	Class *touched; /* the next class that has some */
	int nwants;
	struct ClassWant
	{
		Want *want;
		int place; /* where the class stands in want->classes */
	} wants[]; /* each once, sorted */
};

extern void class_start(void);

extern Tenant *tenant_use(const char *name);
extern void tenant_leave(Tenant *tenant);
extern bool tenant_is(const Tenant *tenant, const char *name);

extern Want *want_use(Tenant *tenant, const EventFilter *filter);
extern void want_leave(Want *want);

/* NULL when there are no wants. Behind this they are sorted. */
extern Class *class_use(const Transport *transport, Tenant *tenant, Want **wants, int n);
extern void class_leave(Class *class);

/* found() is called for each class that wants the event, once. */
extern void class_match(const char *tenant, const FilterEvent *event,
						void (*found)(Class *class, uint64_t number), uint64_t number);

extern int class_count(void);

#endif /* USHERD_FANOUT_CLASS_H */
