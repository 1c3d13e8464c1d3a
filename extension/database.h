/*
 * extension/database.h
 *	  Our workers step out of the way of DROP DATABASE and its like.
 */
#ifndef USHER_DATABASE_H
#define USHER_DATABASE_H

extern void usher_database_init(void);

#endif /* USHER_DATABASE_H */
