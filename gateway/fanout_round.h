/*
 * gateway/fanout_round.h
 *	  A round of the live log: what the tail has brought goes to who is current.
 */
#ifndef USHERD_FANOUT_ROUND_H
#define USHERD_FANOUT_ROUND_H

#include "fanout_class.h"

/* The class wants the ring's event of this number; they come in order. */
extern void round_touch(Class *class, uint64_t number);
/* All that classes were touched for, to who is current, and was so at this position. */
extern void round_hand_over(int64_t before);

#endif /* USHERD_FANOUT_ROUND_H */
