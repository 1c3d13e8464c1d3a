/*
 * extension/boxoffice/box.h
 *	  The room of the box office: what its files offer each other and the
 *	  rooms above.
 *
 *	  catalog.c  relations of schema boxoffice -> oids; working as their owner
 *	  slot.c     free places of a zone, in shared memory
 *	  notes.c    what this transaction does to slots, and what happens to it at the end
 *	  lock.c     a user's lock, an event's barrier
 *	  config.c   what a reservation must know of zone, show and event
 *	  seats.c    numbered seats: taken by name, or the best ones
 *	  look.c     what a user has already: limits, repeated keys
 *	  json.c     a new booking as jsonb
 *	  json_text.c  a new booking as the text of JSON
 *	  writer.c   rows of a table, many at once
 *	  rows.c     bookings, items and events are written
 *	  end.c      bookings that expire, or are cancelled by the organiser, many at once
 *	  admit.c    the operator's function is asked
 *	  reserve.c  requests in, bookings or refusals out
 */
#ifndef USHER_BOX_H
#define USHER_BOX_H

#include "usher.h"
#include "shmem.h"

#include "catalog/indexing.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define USHER_BOX_SCHEMA       "boxoffice"
#define USHER_BOX_REQUESTS_MAX 500 /* in one call */
#define USHER_BOX_ITEMS_MAX    20 /* in one booking */
#define USHER_BOX_QUANTITY_MAX 1000 /* in one item */
#define USHER_BOX_CODE_LEN     12

/* Columns of boxoffice.bookings. */
enum
{
	BOOKING_TENANT_ID = 1,
	BOOKING_QUANTITY,
	BOOKING_BOOKING_ID,
	BOOKING_EVENT_ID,
	BOOKING_SHOW_ID,
	BOOKING_TOTAL,
	BOOKING_TAX,
	BOOKING_FEE,
	BOOKING_REFUND_DUE,
	BOOKING_FINGERPRINT,
	BOOKING_CREATED_AT,
	BOOKING_UPDATED_AT,
	BOOKING_EXPIRES_AT,
	BOOKING_STATUS,
	BOOKING_CURRENCY,
	BOOKING_CODE,
	BOOKING_USER_ID,
	BOOKING_KEY,
	BOOKING_PAYMENT_REF,
	BOOKING_PROVIDER_REF,
	BOOKING_REASON,
	BOOKING_NATTS = BOOKING_REASON
};

/* Columns of boxoffice.booking_items. */
enum
{
	ITEM_TENANT_ID = 1,
	ITEM_QUANTITY,
	ITEM_ITEM,
	ITEM_BOOKING_ID,
	ITEM_ZONE_ID,
	ITEM_PRICE_TYPE_ID,
	ITEM_UNIT_PRICE,
	ITEM_TAX,
	ITEM_FEE,
	ITEM_CANCELLED,
	ITEM_SEATS,
	ITEM_NATTS = ITEM_SEATS
};

/* ---- catalog.c ---- */

typedef struct UsherBox
{
	Oid owner; /* of the tables */
	Oid bookings, items, seats;
	Oid by_id, by_user, by_deadline, by_refund; /* indexes of the bookings */
	Oid items_by_booking;
} UsherBox;

extern const UsherBox *usher_box(void);

/* From here to the leave with the rights of the tables' owner; an error ends it as well. */
typedef struct UsherBoxRights
{
	Oid user;
	int context;
	int guc_level;
} UsherBoxRights;

extern void usher_box_enter(UsherBoxRights *rights);
extern void usher_box_leave(const UsherBoxRights *rights);
extern bool usher_box_inside(void);

/* A statement of ours, planned once a session; inside, with the snapshot that is active. */
typedef struct UsherBoxPlan
{
	const char *sql;
	int nargs;
	Oid types[6];
	struct _SPI_plan *plan;
} UsherBoxPlan;

extern uint64 usher_box_run(UsherBoxPlan *plan, const Datum *args, const char *nulls, long max);

/* The transaction may change bookings: READ COMMITTED, not read-only, not a standby. */
extern void usher_box_check_state(void);

/* ---- slot.c ---- */

typedef struct UsherZoneKey
{
	Oid dboid;
	Oid log_relid; /* which incarnation of the extension */
	int64 zone_id;
	int32 tenant_id;
	int32 unused;
} UsherZoneKey;

typedef enum UsherZoneState
{
	ZONE_UNUSED,
	ZONE_LOADING, /* somebody counts its rows */
	ZONE_READY,
	ZONE_HELD /* somebody compares it with its rows: nobody may pin it */
} UsherZoneState;

/*
 * 64 bytes.  Key, state and the set of slots change under box_lock; the rest,
 * and the state between READY and HELD, under the mutex.
 */
typedef struct UsherZoneSlot
{
	UsherZoneKey key;
	slock_t mutex;
	uint8 state; /* UsherZoneState */
	bool referenced; /* since the clock's hand was here */
	uint32 pins; /* transactions that have changed, or will change, what it counts */
	int64 free;
	int64 open; /* taken by transactions that have not ended */
	int32 next_unused;
	int32 holder; /* of a HELD one: number of its backend */
	char pad[8];
} UsherZoneSlot;

StaticAssertDecl(sizeof(UsherZoneSlot) == 64, "a zone's slot is a cache line");

extern Size usher_zones_size(void);
extern void usher_zones_init(void);

/* NULL: there is no such zone.  Waits while it is loaded or compared. */
extern UsherZoneSlot *usher_zone_acquire(int32 tenant_id, int64 zone_id);
extern void usher_zone_release(UsherZoneSlot *slot);
extern void usher_zone_load_failed(void);
extern void usher_zones_forget(Oid dboid);
extern bool usher_zone_peek(int32 tenant_id, int64 zone_id, int64 *free, int64 *open);
extern bool usher_zone_hold(int32 tenant_id, int64 zone_id, int wait_ms);
extern void usher_zone_unhold(void);

/* ---- notes.c ---- */

typedef struct UsherZoneRefusal
{
	int64 left; /* places that are free */
	bool retryable; /* some are held by transactions of others that may still roll back */
} UsherZoneRefusal;

extern void usher_box_init(void);

/* Number of this transaction's pin, made if need be; -1: there is no such zone. */
extern int usher_zone_pin(int32 tenant_id, int64 zone_id);
extern bool usher_zone_is_pinned(int32 tenant_id, int64 zone_id);
/* At once, and given back if this (sub)transaction rolls back. */
extern bool usher_zone_take(int pin, int64 n, UsherZoneRefusal *refusal);
/* Of what this subtransaction has taken. */
extern void usher_zone_untake(int pin, int64 n);
/* Once the transaction has committed. */
extern void usher_zone_give(int pin, int64 n);
/* A booking of this transaction expires then. */
extern void usher_box_expires(TimestampTz at);
extern bool usher_box_deadline_known(UsherDb *db, TimestampTz at);
extern int usher_box_worker_terminate(Oid dboid);
/* Events, shows, zones or prices change with this transaction. */
extern void usher_box_config_changes(bool loaded);
extern bool usher_box_config_changed_here(void);

/* ---- lock.c ---- */

/* Until the transaction's end: what was published when it is looked at now stays so, or is seen to be cancelled. */
extern void usher_box_event_share(int32 tenant_id, int64 event_id);
/* True: nobody who took the share before is still at work. */
extern bool usher_box_event_quiet(int32 tenant_id, int64 event_id);

extern uint64 usher_box_user_hash(int32 tenant_id, const text *user);
extern void usher_box_user_lock(uint64 hash);

/* ---- config.c ---- */

typedef struct UsherZoneConfigKey
{
	int32 tenant_id;
	int32 unused;
	int64 show_id;
	int64 zone_id;
	int64 price_type_id; /* 0: the zone's first */
} UsherZoneConfigKey;

typedef struct UsherZoneConfig
{
	UsherZoneConfigKey key;
	int64 event_id;
	bool published;
	bool show_cancelled;
	bool numbered;
	bool priced; /* there is such a price type */
	TimestampTz sale_from, sale_until; /* DT_NOBEGIN, DT_NOEND: no bound */
	TimestampTz starts_at;
	int32 user_limit; /* 0: none */
	int32 abuse_limit; /* expired holds; 0: none */
	int64 price_type_id;
	int64 unit_price;
	int32 tax_bp, fee_bp;
	char currency[4];
} UsherZoneConfig;

/* NULL: there is no such zone of the show.  Valid until the next call. */
extern bool usher_zone_config(const UsherZoneConfigKey *key, UsherZoneConfig *config);
extern uint32 usher_box_config_generation(void);

/* ---- reserve.c ---- */

typedef struct UsherBoxItem
{
	int64 zone_id;
	int64 price_type_id; /* 0: the zone's first */
	int32 quantity;
	ArrayType *seats; /* text[]; NULL: none named, then the best ones: */
	bool accessible, split; /* only accessible ones; several runs will do */
	/* found and computed: */
	UsherZoneConfig config;
	int64 tax, fee, amount; /* amount: price, tax and fee */
	int pin; /* -1: nothing taken */
} UsherBoxItem;

typedef struct UsherBoxRefusal
{
	int sqlstate; /* 0: granted */
	char *message, *detail, *hint;
	bool retryable;
	int64 left; /* -1: not said */
	ArrayType *seats;
} UsherBoxRefusal;

typedef struct UsherBoxRequest
{
	int32 tenant_id;
	text *user_id;
	int64 show_id;
	int nitems;
	UsherBoxItem *items;
	text *key; /* NULL: none */
	int64 ttl_us;
	Jsonb *metadata; /* of the event; NULL: empty */
	bool by_gateway; /* then the operator is asked: tenant's name, and the client's token or NULL */
	text *tenant, *token;
	/* the outcome: */
	UsherBoxRefusal refusal;
	bool replayed; /* booking_id is that of an earlier call */
	pg_uuid_t booking_id;
	char code[USHER_BOX_CODE_LEN + 1];
	int32 quantity;
	int64 event_id, total, tax, fee;
	int64 fingerprint;
	uint64 user_hash;
	int previous; /* an earlier request of the same user in this call; -1: none */
	TimestampTz created_at, expires_at;
} UsherBoxRequest;

extern void usher_box_reserve(UsherBoxRequest *requests, int n);
extern void
usher_box_refuse(UsherBoxRequest *r, int sqlstate, char *message, char *detail, char *hint);
extern void usher_box_raise(const UsherBoxRefusal *refusal) pg_attribute_noreturn();

/* ---- admit.c ---- */
/* False: the operator refuses it. */
extern bool usher_box_admitted(UsherBoxRequest *r);

/* ---- look.c ---- */

/* All zero to begin with. */
typedef struct UsherBoxLook
{
	Snapshot snapshot;
	Relation rel, by_user;
	struct IndexScanDescData *all, *one; /* bookings of a user; the one of a key */
	struct TupleTableSlot *slot;
} UsherBoxLook;

typedef struct UsherUserHas
{
	int64 places; /* held and sold */
	int expired; /* holds that ran out in the last half hour */
	bool repeated; /* a booking was made with the key: */
	pg_uuid_t booking_id;
	int64 fingerprint; /* of its request */
} UsherUserHas;

extern bool usher_box_status_is(Datum status, const char *name);
extern void usher_look_end(UsherBoxLook *look);
/* Unless the user is limited, only the booking with the request's key is looked for. */
extern UsherUserHas usher_look_user(UsherBoxLook *look, const UsherBoxRequest *r, bool limited);

/* ---- seats.c ---- */
extern bool usher_seats_take(UsherBoxRequest *r, UsherBoxItem *item);
/* What was taken for an item of a booking that is not made after all. */
extern void usher_seats_untake(const UsherBoxRequest *r, const UsherBoxItem *item);

/* ---- end.c ---- */
/* A booking that holds places, and no longer will. */
typedef struct UsherBoxEnded
{
	int32 tenant_id;
	pg_uuid_t id;
	HeapTuple row; /* as it is; NULL: not read yet */
	const char *status; /* as it will be */
	text *user_id;
	int32 quantity;
	int64 event_id, show_id, total, refund_due;
	bool seats; /* it has numbered ones */
} UsherBoxEnded;

extern void usher_box_end(UsherBoxEnded *ended, int n, text *reason);
extern int usher_box_expire(int max, int skip, TimestampTz *after);

/* ---- json.c ---- */
extern Jsonb *usher_box_items_json(const UsherBoxRequest *r);
extern Jsonb *usher_box_booking_json(const UsherBoxRequest *r);
extern const char *usher_box_time_text(TimestampTz at);
extern Jsonb *usher_box_ended_json(const UsherBoxEnded *b, const text *reason);

/* ---- json_text.c ---- */
extern text *usher_box_booking_text(const UsherBoxRequest *r);

/* ---- writer.c ---- */
#define USHER_BOX_WRITER_ROWS 100 /* at once: some pages */

typedef struct UsherBoxWriter
{
	Relation rel;
	CatalogIndexState indexes;
	struct EState *estate;
	TupleTableSlot *slots[USHER_BOX_WRITER_ROWS];
	int made, n;
	bool updates;
} UsherBoxWriter;

extern void usher_box_writer_open(UsherBoxWriter *w, Oid relid, int natts);
extern void usher_box_writer_insert(UsherBoxWriter *w, Datum *values, bool *nulls);
extern void usher_box_writer_update(UsherBoxWriter *w, ItemPointer old, HeapTuple tuple);
extern void usher_box_writer_close(UsherBoxWriter *w);

/* ---- rows.c ---- */
#define USHER_UUID_LEN 36 /* as text */

extern void usher_box_write(UsherBoxRequest **granted, int n);
extern void usher_box_uuid_text(const pg_uuid_t *id, char *at);
extern text *usher_box_stream_name(const pg_uuid_t *id);
#endif /* USHER_BOX_H */
