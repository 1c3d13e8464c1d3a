-- Durable cells. They are sequences because those are carried by pg_dump, pg_upgrade and physical replication;
-- the extension writes their one page itself.
CREATE SEQUENCE usher.position_mark MINVALUE 0 START 0;
COMMENT ON SEQUENCE usher.position_mark IS 'No position above this has ever been given.';
CREATE SEQUENCE usher.lease_mark MINVALUE 0 START 0;
COMMENT ON SEQUENCE usher.lease_mark IS 'No lease or cursor of a subscription with a number above this has ever been.';
CREATE SEQUENCE usher.timeline_mark MINVALUE 0 START 0;
COMMENT ON SEQUENCE usher.timeline_mark IS 'Timeline on which the positions were last given.';
CREATE SEQUENCE usher.stable_mark MINVALUE 0 START 0;
COMMENT ON SEQUENCE usher.stable_mark IS 'Stable position as a standby may use it.';
