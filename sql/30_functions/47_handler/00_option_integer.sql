CREATE FUNCTION usher.option_integer(options jsonb, name text, default_value integer)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((option_integer.options ->> option_integer.name)::integer, option_integer.default_value);
EXCEPTION
    WHEN invalid_text_representation OR numeric_value_out_of_range THEN
        RAISE EXCEPTION 'option "%" must be an integer', option_integer.name USING ERRCODE = 'US018';
END
$$;
COMMENT ON FUNCTION usher.option_integer IS 'Internal: an integer among options; US018 when it is none.';
