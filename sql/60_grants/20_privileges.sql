-- Least privilege: nothing for PUBLIC. Readers read, writers append, administrators configure.
-- The C functions insert into the log themselves; no role but the owner can write to it with SQL.
GRANT USAGE ON SCHEMA usher TO usher_reader;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA usher FROM PUBLIC;
REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA usher FROM PUBLIC;

GRANT SELECT ON usher.log, usher.stream_registry, usher.stream_limits, usher.tenants,
    usher.events, usher.streams, usher.log_partitions,
    usher.dead_letters, usher.sink_status, usher.replay_status,
    usher.subscriptions, usher.parked_keys, usher.replays, usher.subscription_status,
    usher.wanted_events, usher.deliveries, usher.projections, usher.handlers, usher.handler_status TO usher_reader;
GRANT EXECUTE ON FUNCTION
    usher.read_stream, usher.read_category, usher.read, usher.read_page, usher.last_event, usher.event_by_id,
    usher.stream_version, usher.stream_head_of, usher.pending_events, usher.stable_position,
    usher.committed_position, usher.last_position, usher.oldest_position, usher.matches, usher.category, usher.category_hash,
    usher.wait, usher.aggregate, usher.current_tenant, usher.tenant_name, usher.partition_list,
    usher.sink_status_list, usher.replay_status_list, usher.subscription_partitions, usher.lease_held, usher.sink_lag,
    usher.own_series, usher.metrics_since, usher.event_stats, usher.handler_workers_list
    TO usher_reader;
GRANT EXECUTE ON FUNCTION usher.read_signals TO usher_reader;
GRANT EXECUTE ON PROCEDURE usher.wait_for, usher.wait_for_signal TO usher_reader;

GRANT EXECUTE ON FUNCTION
    usher.append, usher.append_batch, usher.append_many, usher.publish, usher.delete_stream, usher.signal,
    usher.once, usher.once_done, usher.once_many, usher.once_done_many
    TO usher_writer;

-- Tables as sources: for their owners, who need the trigger function as well when they restore a dump.
GRANT EXECUTE ON FUNCTION usher.watch, usher.unwatch, usher.watch_event, usher.record_read, usher.watch_snapshot_batch TO usher_writer;
GRANT EXECUTE ON PROCEDURE usher.watch_snapshot TO usher_writer;
GRANT SELECT ON usher.watches TO usher_reader;
GRANT EXECUTE ON FUNCTION usher.watched_columns TO usher_reader;

-- Consumers: their tenant's subscriptions are theirs.
GRANT EXECUTE ON FUNCTION
    usher.subscribe, usher.unsubscribe, usher.pause_subscription, usher.resume_subscription, usher.seek_subscription,
    usher.seek_subscription_time, usher.poll, usher.ack, usher.nack, usher.extend, usher.skip_dead_letter,
    usher.replay_dead_letters, usher.replay_subscription_dead_letters, usher.replay_of_subscription, usher.wake_subscription,
    usher.subscription_named, usher.subscription_start, usher.start_position, usher.check_name,
    usher.handle, usher.unhandle, usher.check_function, usher.option_integer
    TO usher_writer;
GRANT EXECUTE ON PROCEDURE usher.wait_for_delivery TO usher_writer;
-- (No column that says whose, or of what, a row is can be changed; numbers of subscriptions are not chosen.)
GRANT INSERT (tenant_id, name, pattern, category, stream, partitions, max_attempts, lease_ms, backoff_ms, backoff_max_ms,
    max_parked_keys, hold_dead), DELETE ON usher.subscriptions TO usher_writer;
GRANT UPDATE (pattern, paused) ON usher.subscriptions TO usher_writer;
GRANT INSERT, UPDATE (handler, owner, timeout_ms, restored), DELETE ON usher.handlers TO usher_writer;
GRANT UPDATE (position, failed, attempts, held, next_at, error), DELETE ON usher.parked_keys TO usher_writer;
GRANT DELETE ON usher.dead_letters TO usher_writer;
GRANT USAGE ON SEQUENCE usher.subscriptions_subscription_id_seq TO usher_writer;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    usher.tenants, usher.tenant_grants, usher.projections, usher.retention, usher.category_retention,
    usher.stream_limits, usher.holds, usher.snapshots, usher.sinks, usher.sink_lanes, usher.routes
    TO usher_admin;
GRANT SELECT, INSERT ON usher.replays TO usher_admin;
-- The values of secrets are for the relay workers alone.
GRANT SELECT (sink_id, name), INSERT, UPDATE, DELETE ON usher.sink_secrets TO usher_admin;
GRANT SELECT, INSERT ON usher.removal_requests TO usher_admin;
GRANT SELECT ON usher.idempotency_keys TO usher_admin;
GRANT SELECT ON usher.subscription_cursors, usher.subscription_cursors_a, usher.subscription_cursors_b, usher.log_removals, usher.stream_segments, usher.position_mark TO usher_admin;
GRANT USAGE ON SEQUENCE usher.tenants_tenant_id_seq, usher.projections_projection_id_seq TO usher_admin;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA usher TO usher_admin;
GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA usher TO usher_admin;
REVOKE EXECUTE ON FUNCTION usher.make_partition, usher.index_partition, usher.replace_partition, usher.carry_out_removals,
    usher.call_archive, usher.kept_categories, usher.sink_options, usher.sink_signature,
    usher.rotate_cursors, usher.carry_cursors, usher.drop_expired_keys,
    usher.series_list, usher.count_list, usher.any_subscription_partitions, usher.log_metrics, usher.sink_metrics,
    usher.subscription_metrics, usher.event_metrics,
    usher.append_requests, usher.gateway_read_stream, usher.gateway_read_category, usher.gateway_read_log, usher.gateway_heads, usher.gateway_tail,
    usher.gateway_poll, usher.gateway_ack, usher.gateway_nack, usher.gateway_extend, usher.gateway_subscription_pattern, usher.gateway_subscriptions, usher.gateway_sinks,
    usher.gateway_dead_letters, usher.gateway_replay_dead_letters, usher.gateway_claim, usher.gateway_keep, usher.gateway_revocations,
    usher.gateway_api_key,
    usher.gateway_issue_ticket, usher.gateway_use_ticket, usher.gateway_signal, usher.gateway_signals,
    usher.gateway_snapshot FROM usher_admin;
REVOKE EXECUTE ON PROCEDURE usher.gateway_wait FROM usher_admin;

-- Whoever watches the server: all tenants' numbers, and no event.
GRANT USAGE ON SCHEMA usher TO pg_monitor;
GRANT EXECUTE ON FUNCTION usher.metrics TO pg_monitor;

-- The HTTP gateway acts for every tenant, by these functions alone: no table, and neither a reader nor a writer.
GRANT USAGE ON SCHEMA usher TO usher_gateway;
GRANT EXECUTE ON FUNCTION
    usher.gateway_protocol, usher.gateway_status, usher.append_requests, usher.committed_range,
    usher.gateway_read_stream, usher.gateway_read_category, usher.gateway_read_log, usher.gateway_heads, usher.gateway_tail,
    usher.gateway_claim, usher.gateway_keep, usher.gateway_poll, usher.gateway_ack, usher.gateway_nack, usher.gateway_extend,
    usher.gateway_subscription_pattern, usher.gateway_subscriptions, usher.gateway_sinks, usher.gateway_dead_letters, usher.gateway_replay_dead_letters,
    usher.gateway_revocations, usher.gateway_api_key, usher.gateway_issue_ticket, usher.gateway_use_ticket, usher.gateway_signal, usher.gateway_signals,
    usher.gateway_snapshot, usher.gateway_rate_limits, usher.metrics
    TO usher_gateway;
GRANT EXECUTE ON PROCEDURE usher.gateway_wait TO usher_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON usher.rate_limits, usher.snapshot_functions TO usher_admin;
GRANT SELECT (tenant_id, name, scopes, rate_class, created_at, expires_at, changed_at), INSERT, UPDATE, DELETE ON usher.api_keys TO usher_admin;
