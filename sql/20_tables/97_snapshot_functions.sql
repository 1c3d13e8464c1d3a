-- What clients of the live log can ask for before they follow it.
CREATE TABLE usher.snapshot_functions (
    name       text COLLATE "C" PRIMARY KEY,
    function   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usher.snapshot_functions IS
'Functions that give the state behind which a subscription of the live log begins, by the name that clients ask for. function: its signature, f(tenant text, user_id text, arguments jsonb) returning jsonb. Change them with usher.offer_snapshot and usher.withdraw_snapshot.';
