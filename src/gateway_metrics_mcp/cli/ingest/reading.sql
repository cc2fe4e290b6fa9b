-- Text -> typed values, strictly: what is not of the type becomes null, and the row is refused.
-- The variable `zone` is the zone of times without an offset, or null, and `periods` its offsets by
-- month (engine.py).

CREATE TEMP MACRO filled(t) AS nullif(trim(t), '');

CREATE TEMP MACRO read_text(t) AS t;

-- The nearest whole number, a half away from zero, as in the direct reading of Parquet.
CREATE TEMP MACRO read_whole(t) AS
    CASE WHEN regexp_full_match(t, '[+-]?[0-9]+(\.[0-9]*)?') THEN
        TRY_CAST(split_part(t, '.', 1) AS HUGEINT)
        + CASE WHEN split_part(t, '.', 2) < '5' THEN 0 WHEN t[1] = '-' THEN -1 ELSE 1 END
    END;

CREATE TEMP MACRO read_integer(t) AS TRY_CAST(read_whole(t) AS INTEGER);

CREATE TEMP MACRO read_bigint(t) AS TRY_CAST(read_whole(t) AS BIGINT);

CREATE TEMP MACRO read_any_double(t) AS TRY_CAST(
    CASE WHEN regexp_full_match(t, '[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?') THEN t END
    AS DOUBLE
);

CREATE TEMP MACRO read_double(t) AS
    CASE WHEN isfinite(read_any_double(t)) THEN read_any_double(t) END;

CREATE TEMP MACRO read_boolean(t) AS
    CASE WHEN lower(t) IN ('true', '1') THEN TRUE WHEN lower(t) IN ('false', '0') THEN FALSE END;

CREATE TEMP MACRO read_json(t) AS TRY_CAST(t AS JSON);

CREATE TEMP MACRO read_json_of(t, kind) AS
    CASE WHEN json_type(read_json(t)) = kind THEN read_json(t) END;

CREATE TEMP MACRO read_map(t) AS TRY_CAST(read_json_of(t, 'OBJECT') AS MAP(VARCHAR, VARCHAR));

CREATE TEMP MACRO read_map_of_lists(t) AS
    TRY_CAST(read_json_of(t, 'OBJECT') AS MAP(VARCHAR, VARCHAR[]));

CREATE TEMP MACRO filled_words(words) AS list_filter(words, lambda word: word <> '');

CREATE TEMP MACRO read_list(t) AS filled_words(
    CASE
        WHEN t[1] = '[' THEN TRY_CAST(read_json_of(t, 'ARRAY') AS VARCHAR[])
        ELSE list_transform(string_split(t, ','), lambda word: trim(word))
    END
);

-- A map of a Parquet file; null if it has a key twice, which is not looked for on reading.
CREATE TEMP MACRO with_unique_keys(m) AS list_transform(
    [map_keys(m)],
    lambda k: CASE
        WHEN len(k) < 2 OR len(k) = 2 AND k[1] <> k[2]
            OR len(k) = 3 AND k[1] <> k[2] AND k[1] <> k[3] AND k[2] <> k[3]
        THEN m
        WHEN list_unique(k) = len(k) THEN m
    END
)[1];

-- Times: the parts, each empty if there is none; all are if the text is no ISO 8601 time.
CREATE TEMP MACRO time_parts(t) AS regexp_extract(
    t,
    '^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](([01][0-9]|2[0-3]):[0-5][0-9])'
    || '(:([0-5][0-9])([.,]([0-9]{1,9}))?)?'
    || ' ?([Zz]|UTC|([+-])(0[0-9]|1[0-4])(:?([0-5][0-9]))?)?$',
    ['day', 'minute', '_1', '_2', 'second', '_3', 'fraction', 'offset', 'sign', 'hours', '_4',
        'minutes']
);

-- What a clock shows, to the microsecond: more digits are cut off.
CREATE TEMP MACRO wall_of(parts) AS TRY_CAST(
    CASE WHEN parts.day <> '' THEN
        parts.day || ' ' || parts.minute || ':'
        || lpad(parts.second, 2, '0') || '.' || rpad(left(parts.fraction, 6), 6, '0')
    END AS TIMESTAMP
);

CREATE TEMP MACRO read_wall(t) AS wall_of(time_parts(t));

CREATE TEMP MACRO minutes_ahead(parts) AS
    CASE WHEN parts.sign = '' THEN 0 ELSE
        (parts.sign || '1')::INTEGER * (
            parts.hours::INTEGER * 60 + ('0' || parts.minutes)::INTEGER
        )
    END;

-- The first instant at which the zone's clocks show the time; null if they skip it. Where the table
-- of periods ends, no instant is in an accepted year, whatever the offset.
CREATE TEMP MACRO settle(wall) AS CASE
    WHEN getvariable('zone') IS NULL THEN NULL
    WHEN getvariable('zone') = 'UTC'
        OR wall < TIMESTAMP '1969-12-01' OR wall >= TIMESTAMP '3000-02-01' THEN wall::TIMESTAMPTZ
    ELSE list_min(list_transform(
        getvariable('periods')[(year(wall) - 1969) * 12 + month(wall) - 11],
        lambda period: CASE
            WHEN wall - period.ahead >= period.start AND wall - period.ahead < period."end"
            THEN wall - period.ahead
        END
    ))::TIMESTAMPTZ
END;

-- A list of one value names it: a macro repeats its argument at each use, and planning the repeats
-- of repeats took longer than a small import.
CREATE TEMP MACRO read_any_instant(t) AS list_transform(
    [time_parts(t)],
    lambda parts: CASE
        WHEN parts.offset = '' THEN list_transform([wall_of(parts)], lambda wall: settle(wall))[1]
        ELSE (wall_of(parts) - to_minutes(minutes_ahead(parts)))::TIMESTAMPTZ
    END
)[1];

CREATE TEMP MACRO accept(instant) AS list_filter(
    [instant],
    lambda i: i >= TIMESTAMPTZ '1970-01-01 00:00:00+00' AND i < TIMESTAMPTZ '3000-01-01 00:00:00+00'
)[1];

CREATE TEMP MACRO read_instant(t) AS accept(read_any_instant(t));

-- Why it is none.
CREATE TEMP MACRO explain_instant(t) AS CASE
    WHEN time_parts(t).day = '' THEN 'not an ISO 8601 date and time'
    WHEN read_wall(t) IS NULL THEN 'no such date'
    WHEN time_parts(t).offset = '' AND getvariable('zone') IS NULL
        THEN 'no UTC offset: give --timezone'
    WHEN read_any_instant(t) IS NULL
        THEN 'skipped by the clocks of ' || getvariable('zone')
    ELSE 'not between 1970 and 2999'
END;

-- The same value from a plain form of text, which most texts have, for a fraction of the time; null
-- for any other text.

CREATE TEMP MACRO quick_integer(t) AS
    CASE WHEN TRY_CAST(t AS INTEGER)::VARCHAR = t THEN TRY_CAST(t AS INTEGER) END;

CREATE TEMP MACRO quick_bigint(t) AS
    CASE WHEN TRY_CAST(t AS BIGINT)::VARCHAR = t THEN TRY_CAST(t AS BIGINT) END;

CREATE TEMP MACRO quick_double(t) AS TRY_CAST(
    CASE WHEN regexp_full_match(t, '-?[0-9]{1,20}(\.[0-9]{1,30})?') THEN t END AS DOUBLE
);

CREATE TEMP MACRO quick_boolean(t) AS CASE t WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END;

CREATE TEMP MACRO quick_list(t) AS filled_words(
    TRY_CAST(TRY_CAST(CASE WHEN starts_with(t, '[') THEN t END AS JSON) AS VARCHAR[])
);

CREATE TEMP MACRO quick_map(t) AS TRY_CAST(
    TRY_CAST(CASE WHEN starts_with(t, '{') THEN t END AS JSON) AS MAP(VARCHAR, VARCHAR)
);

CREATE TEMP MACRO quick_map_of_lists(t) AS TRY_CAST(
    TRY_CAST(CASE WHEN starts_with(t, '{') THEN t END AS JSON) AS MAP(VARCHAR, VARCHAR[])
);

-- Of years that no offset leads out of, and with no digits that the cast would take otherwise.
CREATE TEMP MACRO quick_instant(t) AS TRY_CAST(
    CASE
        WHEN t > '1970-01-02' AND t < '2999-12-30' AND regexp_full_match(
            t,
            '[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]'
            || '(\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4])(:[0-5][0-9])?)'
        ) THEN t
    END AS TIMESTAMPTZ
);

-- For presets.
CREATE TEMP MACRO milliseconds_between(a, b) AS
    (epoch_us(read_instant(b)) - epoch_us(read_instant(a))) / 1000;

-- A JSON object, also where it was written as a JSON string.
CREATE TEMP MACRO read_object(t) AS
    CASE json_type(read_json(t))
        WHEN 'OBJECT' THEN read_json(t)
        WHEN 'VARCHAR' THEN read_json_of(read_json(t) ->> '$', 'OBJECT')
    END;

-- Nanoseconds since 1970 or ISO 8601 text, as text of the latter kind.
CREATE TEMP MACRO read_nanoseconds(t) AS
    coalesce(make_timestamp(TRY_CAST(t AS BIGINT) // 1000)::VARCHAR || 'Z', t);

-- Attributes as one JSON object, whether they came as one or as OTLP's list of key and value.
CREATE TEMP MACRO read_attributes(a) AS
    CASE json_type(a)
        WHEN 'OBJECT' THEN a
        WHEN 'ARRAY' THEN ('{' || array_to_string(list_transform(
            json_extract(a, '$[*]'),
            lambda entry: coalesce(entry -> '$.key', '""') || ':' || coalesce(
                entry -> '$.value.stringValue',
                entry -> '$.value.intValue',
                entry -> '$.value.doubleValue',
                entry -> '$.value.boolValue',
                'null'
            )
        ), ',') || '}')::JSON
    END;
