CREATE FUNCTION usher.sink_option_list(kind text)
RETURNS TABLE (name text, type text, lowest bigint, highest bigint, choices text[])
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.name, o.type, o.lowest, o.highest, o.choices
    FROM (VALUES
        -- what the relay itself reads
        (NULL,    'parallel',               'integer', 1,    32,         NULL::text[]),
        (NULL,    'mode',                   'choice',  NULL, NULL,       '{binary,structured}'),
        (NULL,    'metadata',               'boolean', NULL, NULL,       NULL),
        (NULL,    'source',                 'text',    NULL, NULL,       NULL),
        (NULL,    'batch_events',           'integer', 1,    10000,      NULL),
        (NULL,    'in_flight',              'integer', 1,    200000,     NULL),
        (NULL,    'on_rejected',            'choice',  NULL, NULL,       '{dead_letter,block}'),
        (NULL,    'dlq',                    'boolean', NULL, NULL,       NULL),
        (NULL,    'breaker_failures',       'integer', 1,    1000,       NULL),
        (NULL,    'backoff_ms',             'integer', 1,    3600000,    NULL),
        (NULL,    'backoff_max_ms',         'integer', 1,    3600000,    NULL),
        ('kafka', 'brokers',                'text',    NULL, NULL,       NULL),
        ('kafka', 'compression',            'choice',  NULL, NULL,       '{none,gzip,snappy,lz4,zstd}'),
        ('kafka', 'linger_ms',              'integer', 0,    900000,     NULL),
        ('kafka', 'batch_bytes',            'integer', 1024, 2147483647, NULL),
        ('kafka', 'message_max_bytes',      'integer', 1000, 1000000000, NULL),
        ('kafka', 'queue_messages',         'integer', 1,    10000000,   NULL),
        ('kafka', 'queue_kbytes',           'integer', 1,    2147483647, NULL),
        ('kafka', 'connect_timeout_ms',     'integer', 1,    3600000,    NULL),
        ('kafka', 'ack_timeout_ms',         'integer', 1,    3600000,    NULL),
        ('kafka', 'exactly_once',           'boolean', NULL, NULL,       NULL),
        ('kafka', 'cursor_topic',           'text',    NULL, NULL,       NULL),
        ('kafka', 'commit_interval_ms',     'integer', 0, 60000,      NULL),
        ('kafka', 'transaction_timeout_ms', 'integer', 1000, 2147483647, NULL),
        ('kafka', 'rdkafka',                'object',  NULL, NULL,       NULL),
        ('redis', 'url',                    'text',    NULL, NULL,       NULL),
        ('redis', 'username',               'text',    NULL, NULL,       NULL),
        ('redis', 'password',               'secret',  NULL, NULL,       NULL),
        ('redis', 'ca_file',                'file',    NULL, NULL,       NULL),
        ('redis', 'cert_file',              'file',    NULL, NULL,       NULL),
        ('redis', 'key_file',               'file',    NULL, NULL,       NULL),
        ('redis', 'connect_timeout_ms',     'integer', 1,    3600000,    NULL),
        ('redis', 'timeout_ms',             'integer', 1,    3600000,    NULL),
        ('redis', 'maxlen',                 'integer', 0,    999999999999999999, NULL),
        ('redis', 'minid_positions',        'integer', 0,    999999999999999999, NULL),
        ('nats',  'url',                    'text',    NULL, NULL,       NULL),
        ('nats',  'username',               'text',    NULL, NULL,       NULL),
        ('nats',  'password',               'secret',  NULL, NULL,       NULL),
        ('nats',  'token',                  'secret',  NULL, NULL,       NULL),
        ('nats',  'credentials',            'secret',  NULL, NULL,       NULL),
        ('nats',  'ca_file',                'file',    NULL, NULL,       NULL),
        ('nats',  'cert_file',              'file',    NULL, NULL,       NULL),
        ('nats',  'key_file',               'file',    NULL, NULL,       NULL),
        ('nats',  'connect_timeout_ms',     'integer', 1,    3600000,    NULL),
        ('nats',  'timeout_ms',             'integer', 1,    3600000,    NULL),
        ('nats',  'stream',                 'text',    NULL, NULL,       NULL),
        ('nats',  'expect_stream',          'boolean', NULL, NULL,       NULL),
        ('nats',  'create_stream',          'boolean', NULL, NULL,       NULL),
        ('nats',  'subjects',               'text',    NULL, NULL,       NULL),
        ('nats',  'storage',                'choice',  NULL, NULL,       '{file,memory}'),
        ('nats',  'replicas',               'integer', 1,    5,          NULL),
        ('nats',  'duplicate_window_ms',    'integer', 0,    2147483647, NULL)
    ) AS o (of_kind, name, type, lowest, highest, choices)
    WHERE o.of_kind IS NULL OR o.of_kind = sink_option_list.kind
$$;
COMMENT ON FUNCTION usher.sink_option_list IS
'Internal: the options that the config of a sink of this kind may have. type: text, integer (lowest to highest), boolean, choice, secret (named or in a file, never written out), file (a path on the server), object.';
