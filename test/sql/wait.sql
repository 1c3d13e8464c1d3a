-- Waiting: what is there returns at once, what is not waits for its timeout. (Waking is tested between sessions.)
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.waited(call text, at_least interval, at_most interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    start  timestamptz := clock_timestamp();
    stable bigint;
    took   interval;
BEGIN
    EXECUTE call INTO stable;
    took := clock_timestamp() - start;
    RETURN CASE WHEN stable <> usher.stable_position() THEN 'another position ' || stable
                WHEN took < at_least THEN 'too early: ' || took
                WHEN took > at_most THEN 'too late: ' || took ELSE 'as expected' END;
END
$$;
SELECT usher.append('wait-1', 'wait.a');
SELECT usher.stable_position() AS stable \gset
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''4 s'')', :stable - 1), '0', '3.5 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''4 s'', ''wait.*'')', :stable - 1), '0', '3.5 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''200 ms'')', :stable), '0.2 s', '20 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''200 ms'', ''nothing.*'')', :stable - 1), '0.2 s', '20 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''0'')', :stable), '0', '20 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''100 ms'')', :stable + 1000000), '0.1 s', '20 s');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''4 s'', NULL)', :stable - 1), '0', '3.5 s');
-- another tenant's events wake nobody
SELECT usher.create_tenant('wait') > 1;
SET usher.tenant = 'wait';
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''200 ms'')', :stable - 1), '0.2 s', '20 s');
RESET usher.tenant;

-- the procedure; its own events count once they are committed
CALL usher.wait_for(:stable - 1, '4 s', '*', NULL) \gset after_
SELECT :after_stable = usher.stable_position();
CALL usher.wait_for(:stable, '100 ms', '*', NULL) \gset after_
SELECT :after_stable = usher.stable_position();
CALL usher.wait_for(:stable, '0', 'wait.a', 0) \gset after_
SELECT :after_stable = usher.stable_position();
DO $$
DECLARE
    stable bigint;
    before bigint := usher.stable_position();
BEGIN
    PERFORM usher.append('wait-1', 'wait.b');
    -- a procedure may wait where a transaction may end: this commits
    CALL usher.wait_for(before, '4 s', 'wait.b', stable);
    RAISE NOTICE 'committed: %', stable > before;
END
$$;

-- not inside a transaction, nor in a function
BEGIN;
SELECT usher.append('wait-1', 'wait.c');
CALL usher.wait_for(0, '1 s', '*', NULL);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pg_temp.try($$CALL usher.wait_for(0, '1 s', '*', NULL)$$);
BEGIN;
-- usher.wait may, and does not see its own pending events
SELECT usher.append('wait-1', 'wait.d');
SELECT pg_temp.waited(format('SELECT usher.wait(%s, ''200 ms'', ''wait.d'')', :stable), '0.2 s', '20 s');
ROLLBACK;

-- bad arguments
CALL usher.wait_for(NULL, '1 s', '*', NULL);
\echo :LAST_ERROR_SQLSTATE
CALL usher.wait_for(0, NULL, '*', NULL);
\echo :LAST_ERROR_SQLSTATE
CALL usher.wait_for(0, '-1 s', '*', NULL);
\echo :LAST_ERROR_SQLSTATE
CALL usher.wait_for(0, '1 s', '', NULL);
\echo :LAST_ERROR_SQLSTATE

-- a wait can be cancelled, and leaves nothing behind
SET statement_timeout = '200ms';
SELECT usher.wait(usher.stable_position(), '5 s');
CALL usher.wait_for(usher.stable_position(), '1 h', '*', NULL);
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
SELECT usher.append('wait-1', 'wait.e');
SELECT usher.stable_position() - usher.last_position();
