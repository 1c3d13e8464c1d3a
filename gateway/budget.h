/*
 * gateway/budget.h
 *	  The bytes that clients make usherd hold: heads and bodies that are being read or worked on, replies
 *	  that nobody takes.
 *
 * One sum for all connections, against the setting buffer_bytes_max.  Whoever
 * holds bytes says how many more or fewer they became; when there is no room,
 * who sends is refused.  What a request in flight makes usherd read from the
 * database is bounded by the lanes and reply_bytes_max, and not refused here.
 */
#ifndef USHERD_BUDGET_H
#define USHERD_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

extern void budget_change(int64_t bytes);
extern bool budget_has_room(int64_t bytes); /* for so many more */
extern int64_t budget_bytes(void); /* that are held */
extern void budget_refused(void); /* counts a request that found no room */
extern int64_t budget_refusals(void);

#endif /* USHERD_BUDGET_H */
