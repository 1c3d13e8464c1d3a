/*
 * extension/boxoffice/reserve.c
 *	  Requests in, bookings or refusals out: one call, one commit.
 *
 * In this order: what is asked for is checked; the events' barriers are shared,
 * and the configuration is read behind them; users are locked, sorted, for the
 * whole batch; one snapshot is taken, if anything is looked at; each request is granted or refused, in
 * the order given, places first and seats last; what was granted is written.
 * A request is refused alone: what it had taken is put back.  An error takes
 * the whole call along, and says in its context whose it is, unless it is of
 * what is written for all.
 */
#include "boxoffice/box.h"

#include "lib/money.h"
#include "log/log.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TTL_US_MIN USECS_PER_SEC

typedef struct UserOrder
{
	uint64 hash;
	int request;
} UserOrder;

void
usher_box_refuse(UsherBoxRequest *r, int sqlstate, char *message, char *detail, char *hint)
{
	r->refusal.sqlstate = sqlstate;
	r->refusal.message = message;
	r->refusal.detail = detail;
	r->refusal.hint = hint;
	r->refusal.retryable = false;
	r->refusal.left = -1;
	r->refusal.seats = NULL;
}

void
usher_box_raise(const UsherBoxRefusal *refusal)
{
	ereport(ERROR, (errcode(refusal->sqlstate), errmsg("%s", refusal->message),
					refusal->detail ? errdetail("%s", refusal->detail) : 0,
					refusal->hint ? errhint("%s", refusal->hint) : 0));
	pg_unreachable();
}

static bool
refused(const UsherBoxRequest *r)
{
	return r->refusal.sqlstate != 0;
}

static void
refuse_argument(UsherBoxRequest *r, char *message)
{
	usher_box_refuse(r, ERRCODE_USHER_INVALID_ARGUMENT, message, NULL, NULL);
}

/* ---- what is asked for ---- */

static int
seat_count(const ArrayType *seats)
{
	return ArrayGetNItems(ARR_NDIM(seats), ARR_DIMS(seats));
}

static void
check_item(UsherBoxRequest *r, UsherBoxItem *item)
{
	item->pin = -1;
	if (item->seats && (ARR_NDIM(item->seats) != 1 || array_contains_nulls(item->seats)))
		refuse_argument(r, "seats must be an array of labels");
	else if (item->quantity < 1 || item->quantity > USHER_BOX_QUANTITY_MAX)
		usher_box_refuse(r, ERRCODE_USHER_QUANTITY,
						 psprintf("a quantity of %d is not possible", item->quantity),
						 psprintf("It must be 1 to %d.", USHER_BOX_QUANTITY_MAX), NULL);
	else if (item->seats && seat_count(item->seats) != item->quantity)
		usher_box_refuse(r, ERRCODE_USHER_QUANTITY,
						 psprintf("%d seats are named for a quantity of %d",
								  seat_count(item->seats), item->quantity),
						 NULL, NULL);
	else if (item->seats && item->accessible)
		refuse_argument(r, "accessible seats are chosen where none are named");
	r->quantity += item->quantity;
}

static void
check_request(UsherBoxRequest *r, TimestampTz now)
{
	r->created_at = now;
	r->previous = -1;
	r->refusal.left = -1;
	if (r->ttl_us < TTL_US_MIN || r->ttl_us > usher_box_max_hold_s * USECS_PER_SEC)
		refuse_argument(r, psprintf("a ttl must be at least 1 second and at most %d seconds",
									usher_box_max_hold_s));
	else if (r->nitems < 1 || r->nitems > USHER_BOX_ITEMS_MAX)
		refuse_argument(r, psprintf("a booking has 1 to %d items", USHER_BOX_ITEMS_MAX));
	for (int i = 0; i < r->nitems && !refused(r); i++)
		check_item(r, &r->items[i]);
	r->expires_at = now + r->ttl_us;
	r->user_hash = usher_box_user_hash(r->tenant_id, r->user_id);
}

/* What tells a repeated request from another one with the same key. */
static int64
fingerprint(const UsherBoxRequest *r)
{
	uint64 h = hash_bytes_extended((const unsigned char *) &r->show_id, sizeof(int64), 0);

	for (int i = 0; i < r->nitems; i++)
	{
		const UsherBoxItem *item = &r->items[i];
		int64 numbers[] = {item->zone_id, item->price_type_id, item->quantity};

		h = hash_bytes_extended((const unsigned char *) numbers, sizeof(numbers), h);
		if (item->seats)
			h = hash_bytes_extended((const unsigned char *) item->seats, VARSIZE(item->seats), h);
		if (item->accessible || item->split)
			h = hash_bytes_extended((const unsigned char *) (bool[]){item->accessible, item->split},
									2, h);
	}
	return (int64) h;
}

static void
find_config(UsherBoxRequest *r)
{
	for (int i = 0; i < r->nitems; i++)
	{
		UsherBoxItem *item = &r->items[i];
		UsherZoneConfigKey key = {.tenant_id = r->tenant_id,
								  .show_id = r->show_id,
								  .zone_id = item->zone_id,
								  .price_type_id = item->price_type_id};

		if (!usher_zone_config(&key, &item->config))
		{
			usher_box_refuse(r, ERRCODE_USHER_UNKNOWN_SHOW,
							 psprintf("there is no zone %lld of a show %lld",
									  (long long) item->zone_id, (long long) r->show_id),
							 NULL, NULL);
			return;
		}
	}
	r->event_id = r->items[0].config.event_id;
}

/* Configuration is looked at twice: for the event, and behind the event's barrier. */
static void
find_configs(UsherBoxRequest *requests, int n)
{
	const UsherBoxRequest *last = NULL;

	for (int i = 0; i < n; i++)
	{
		UsherBoxRequest *r = &requests[i];

		if (refused(r))
			continue;
		find_config(r);
		if (refused(r) ||
			(last && last->event_id == r->event_id && last->tenant_id == r->tenant_id))
			continue;
		usher_box_event_share(r->tenant_id, r->event_id);
		last = r;
	}
	for (int i = 0; i < n; i++)
		if (!refused(&requests[i]))
			find_config(&requests[i]);
}

/* ---- users ---- */

static int
compare_users(const void *a, const void *b)
{
	const UserOrder *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->request - y->request;
}

static bool
is_limited(const UsherBoxRequest *r)
{
	const UsherZoneConfig *c = &r->items[0].config;

	return c->user_limit > 0 || c->abuse_limit > 0;
}

static bool
needs_user(const UsherBoxRequest *r)
{
	return r->key != NULL || is_limited(r);
}

/* Whose error it is: for a gateway that has sent many, and sends the others again. */
static void
element_context(void *arg)
{
	errcontext("reserve_many element %d", *(const int *) arg);
}

/* Lock the users, and chain the requests of each in the order of the call. */
static void
lock_users(UsherBoxRequest *requests, int n)
{
	UserOrder *order = palloc_array(UserOrder, n);
	int count = 0, at = 0;
	ErrorContextCallback context = {error_context_stack, element_context, &at};

	for (int i = 0; i < n; i++)
		if (!refused(&requests[i]) && needs_user(&requests[i]))
			order[count++] = (UserOrder){requests[i].user_hash, i};
	qsort(order, count, sizeof(UserOrder), compare_users);
	if (n > 1)
		error_context_stack = &context;
	for (int i = 0; i < count; i++)
	{
		at = order[i].request;
		if (i == 0 || order[i].hash != order[i - 1].hash)
			usher_box_user_lock(order[i].hash);
		else
			requests[at].previous = order[i - 1].request;
	}
	error_context_stack = context.previous;
	pfree(order);
}

static bool
same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static bool
same_user(const UsherBoxRequest *a, const UsherBoxRequest *b)
{
	return a->tenant_id == b->tenant_id && same_text(a->user_id, b->user_id);
}

/* ---- one request ---- */

/* A booking of this call, made with the key. */
static bool
find_repeated(UsherBoxRequest *requests, const UsherBoxRequest *r, UsherUserHas *has)
{
	for (int i = r->previous; i >= 0 && !has->repeated; i = requests[i].previous)
		if (!refused(&requests[i]) && requests[i].key && same_user(&requests[i], r) &&
			same_text(requests[i].key, r->key))
		{
			has->repeated = true;
			has->fingerprint = requests[i].fingerprint;
			has->booking_id = requests[i].booking_id;
		}
	return has->repeated;
}

/* Whether a booking was made with the key before; then the request is done, or in conflict with it. */
static bool
is_repeat(UsherBoxLook *look, UsherBoxRequest *requests, UsherBoxRequest *r, UsherUserHas *has)
{
	if (r->key)
		r->fingerprint = fingerprint(r);
	if (needs_user(r) && (r->key == NULL || !find_repeated(requests, r, has)))
		*has = usher_look_user(look, r, is_limited(r));
	if (!has->repeated)
		return false;
	r->booking_id = has->booking_id;
	r->replayed = has->fingerprint == r->fingerprint;
	if (!r->replayed)
		usher_box_refuse(
			r, ERRCODE_USHER_IDEMPOTENCY_CONFLICT,
			psprintf("idempotency key \"%s\" belongs to another request", text_to_cstring(r->key)),
			NULL, "Repeat a request exactly; give another request another key.");
	return true;
}

static bool
check_sale(UsherBoxRequest *r)
{
	const UsherZoneConfig *c = &r->items[0].config;
	char *why = NULL;

	if (!c->published)
		why = "the event is not on sale";
	else if (c->show_cancelled)
		why = "the show is cancelled";
	else if (r->created_at < c->sale_from)
		why = psprintf("the sale begins at %s", timestamptz_to_str(c->sale_from));
	else if (r->created_at >= c->sale_until)
		why = psprintf("the sale ended at %s", timestamptz_to_str(c->sale_until));
	else if (r->created_at >= c->starts_at)
		why = psprintf("the show began at %s", timestamptz_to_str(c->starts_at));
	if (why)
		usher_box_refuse(r, ERRCODE_USHER_SALE_CLOSED, why, NULL, NULL);
	return why == NULL;
}

static bool
check_user(UsherBoxRequest *requests, UsherBoxRequest *r, UsherUserHas has)
{
	const UsherZoneConfig *c = &r->items[0].config;

	if (!is_limited(r))
		return true;
	for (int i = r->previous; i >= 0; i = requests[i].previous)
		if (!refused(&requests[i]) && !requests[i].replayed && same_user(&requests[i], r) &&
			requests[i].event_id == r->event_id)
			has.places += requests[i].quantity;
	if (c->user_limit > 0 && has.places + r->quantity > c->user_limit)
		usher_box_refuse(
			r, ERRCODE_USHER_USER_LIMIT,
			psprintf("a user can have %d places of this event", c->user_limit),
			psprintf("This one has %lld, and asks for %d.", (long long) has.places, r->quantity),
			NULL);
	else if (c->abuse_limit > 0 && has.expired >= c->abuse_limit)
		usher_box_refuse(r, ERRCODE_USHER_HOLD_ABUSE, "too many reservations were left to expire",
						 psprintf("%d have expired in the last half hour.", has.expired),
						 "Wait for a while.");
	else
		return true;
	if (r->refusal.sqlstate == ERRCODE_USHER_USER_LIMIT)
		r->refusal.left = Max(c->user_limit - has.places, 0);
	return false;
}

static bool
price(UsherBoxRequest *r)
{
	r->total = r->tax = r->fee = 0;
	for (int i = 0; i < r->nitems; i++)
	{
		UsherBoxItem *item = &r->items[i];
		const UsherZoneConfig *c = &item->config;
		int64 net;

		if (!c->priced)
		{
			usher_box_refuse(
				r, ERRCODE_USHER_UNKNOWN_SHOW,
				psprintf("zone %lld has no such price type", (long long) item->zone_id), NULL,
				NULL);
			return false;
		}
		if (!usher_money_times(c->unit_price, item->quantity, &net) ||
			!usher_money_share(net, c->tax_bp, &item->tax) ||
			!usher_money_share(net, c->fee_bp, &item->fee) ||
			!usher_money_plus(net, item->tax, &item->amount) ||
			!usher_money_plus(item->amount, item->fee, &item->amount) ||
			!usher_money_plus(r->total, item->amount, &r->total))
		{
			usher_box_refuse(r, ERRCODE_USHER_QUANTITY, "the amount is too large", NULL, NULL);
			return false;
		}
		r->tax += item->tax;
		r->fee += item->fee;
	}
	return true;
}

static void
put_back(UsherBoxRequest *r)
{
	for (int i = 0; i < r->nitems; i++)
		if (r->items[i].pin >= 0)
		{
			usher_zone_untake(r->items[i].pin, r->items[i].quantity);
			r->items[i].pin = -1;
		}
}

static void
refuse_sold_out(UsherBoxRequest *r, const UsherBoxItem *item, const UsherZoneRefusal *why)
{
	usher_box_refuse(
		r, ERRCODE_USHER_SOLD_OUT,
		psprintf("zone %lld has no %d places left", (long long) item->zone_id, item->quantity),
		psprintf("%lld are left.", (long long) why->left),
		why->retryable ? "Some are held by transactions that are still open: try again." : NULL);
	r->refusal.left = why->left;
	r->refusal.retryable = why->retryable;
}

static bool
take_places(UsherBoxRequest *r)
{
	for (int i = 0; i < r->nitems; i++)
	{
		UsherBoxItem *item = &r->items[i];
		UsherZoneRefusal why = {0};
		int pin = usher_zone_pin(r->tenant_id, item->zone_id);

		Ensure(pin >= 0, "a zone has a configuration and no places");
		if (!usher_zone_take(pin, item->quantity, &why))
		{
			refuse_sold_out(r, item, &why);
			return false;
		}
		item->pin = pin;
	}
	return true;
}

static bool
take_seats_of(UsherBoxRequest *r, UsherBoxItem *item)
{
	if (item->config.numbered)
		return usher_seats_take(r, item);
	if (item->seats || item->accessible)
		refuse_argument(r, psprintf("zone %lld has no numbered seats", (long long) item->zone_id));
	return !refused(r);
}

static bool
take_seats(UsherBoxRequest *r)
{
	for (int i = 0; i < r->nitems; i++)
		if (!take_seats_of(r, &r->items[i]))
		{
			while (--i >= 0)
				if (r->items[i].config.numbered)
					usher_seats_untake(r, &r->items[i]);
			return false;
		}
	return true;
}

/* Crockford's alphabet: no I, L, O, U. */
static void
make_code(char *code)
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	static uint8 random[USHER_BOX_CODE_LEN * 64];
	static int left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(random, sizeof(random)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bytes")));
		left = sizeof(random);
	}
	for (int i = 0; i < USHER_BOX_CODE_LEN; i++)
		code[i] = alphabet[random[--left] & 31];
	code[USHER_BOX_CODE_LEN] = '\0';
}

static void
decide(UsherBoxLook *look, UsherBoxRequest *requests, UsherBoxRequest *r)
{
	UsherUserHas has = {0};

	if (is_repeat(look, requests, r, &has) || !check_sale(r) || !check_user(requests, r, has) ||
		!price(r) || !usher_box_admitted(r))
		return;
	usher_uuid7(&r->booking_id);
	make_code(r->code);
	if (!take_places(r) || !take_seats(r))
		put_back(r);
	else
		usher_box_expires(r->expires_at);
}

void
usher_box_reserve(UsherBoxRequest *requests, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	UsherBoxRequest **granted = palloc_array(UsherBoxRequest *, Max(n, 1));
	int ngranted = 0, at;
	ErrorContextCallback context = {error_context_stack, element_context, &at};
	UsherBoxLook look = {0};

	usher_box_check_state();
	for (int i = 0; i < n; i++)
		if (!refused(&requests[i]))
			check_request(&requests[i], now);
	find_configs(requests, n);
	lock_users(requests, n);
	if (n > 1)
		error_context_stack = &context;
	for (at = 0; at < n; at++)
	{
		UsherBoxRequest *r = &requests[at];

		if (!refused(r))
			decide(&look, requests, r);
		if (!refused(r) && !r->replayed)
			granted[ngranted++] = r;
	}
	error_context_stack = context.previous;
	usher_look_end(&look);
	usher_box_write(granted, ngranted);
	pfree(granted);
}
