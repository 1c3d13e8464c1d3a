/*
 * gateway/budget.h
 *	  The bytes that clients make usherd hold: heads and bodies that are being read or worked on, messages
 *	  that have not come to their end, what subscriptions want, replies and frames that nobody takes.
 *
 * One sum for all, against the setting buffer_bytes_max, and a share of it for each
 * tenant.  Whoever holds bytes says how many more or fewer they became; when there is
 * no room, who sends is refused.  A tenant has room while it holds at most TENANT_FACTOR times what is
 * left: alone it comes to four fifths of all, with others to less, and something
 * is always left for who has nothing yet.  What a request in flight makes usherd read from
 * the database is bounded by the lanes and reply_bytes_max, and not refused here.
 */
#ifndef USHERD_BUDGET_H
#define USHERD_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* A tenant's; NULL, of no tenant, is the share of those whom nobody knows, or knows yet.  Counted. */
typedef struct BudgetShare BudgetShare;
extern BudgetShare *budget_share(const char *tenant);
extern BudgetShare *budget_keep(BudgetShare *share);
extern void budget_release(BudgetShare *share);

extern void budget_change(BudgetShare *share, int64_t bytes);
extern bool budget_has_room(const BudgetShare *share, int64_t bytes); /* for so many more */
extern int64_t budget_bytes(void); /* that are held */

/* The same of requests in flight, of which `all` are there, and as many may be as requests_in_flight_max says. */
extern void budget_request(BudgetShare *share, int more);
extern bool budget_has_request(const BudgetShare *share, int all);

/* The same of sockets that live connections hold, of which so many are left for all. */
extern void budget_live(BudgetShare *share, int more);
extern bool budget_has_live(const BudgetShare *share, int left);

extern void budget_refused(void); /* counts a request that found no room */
extern int64_t budget_refusals(void);

#endif /* USHERD_BUDGET_H */
