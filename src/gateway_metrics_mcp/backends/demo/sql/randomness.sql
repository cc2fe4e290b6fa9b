-- Chance without state: a draw depends on the seed, on what is drawn and on a row's number
-- (below 2^32). Integers, + - * / and sqrt only: IEEE 754 gives these the same last digit on
-- every platform, ln and exp not.

-- "lowbias32", a mixing function that maps 32 bits to 32 bits one to one.
CREATE MACRO stir_first(x) AS (xor(x, x >> 16) * 2146121005::UBIGINT) & 4294967295::UBIGINT;
CREATE MACRO stir_second(x) AS (xor(x, x >> 15) * 2221713035::UBIGINT) & 4294967295::UBIGINT;
CREATE MACRO stir_third(x) AS xor(x, x >> 16);

-- What is drawn, under this seed; constant, so computed once per query.
CREATE MACRO topic(what) AS
    (md5_number_lower(getvariable('seed') || '/' || what) >> 32)::UBIGINT;

-- 32 even bits.
CREATE MACRO bits(number, what) AS
    stir_third(stir_second(stir_first(xor((number)::UBIGINT, topic(what)))));

-- Even in [0, 1).
CREATE MACRO chance(number, what) AS bits(number, what) / 4294967296.0::DOUBLE;

-- A factor around 1 shaped like a lognormal one: median 1, p99 3.15, at most 6.7.
CREATE MACRO odds(x) AS (x) / (1 - (x));
CREATE MACRO spread(number, what) AS
    sqrt(sqrt(odds(0.0005::DOUBLE + 0.999::DOUBLE * chance(number, what))));

-- A milder one: median 1, p99 1.77.
CREATE MACRO mild_spread(number, what) AS sqrt(spread(number, what));

-- One of a list, evenly.
CREATE MACRO pick(choices, number, what) AS
    choices[1 + (bits(number, what) % len(choices)::UBIGINT)::INTEGER];

-- Hexadecimal identifiers, unique among the numbers of one kind.
CREATE MACRO hex_bits(number, what) AS lpad(lower(to_hex(bits(number, what))), 8, '0');
CREATE MACRO span_id(number, what) AS
    left(md5(getvariable('seed') || what), 8) || hex_bits(number, what);
CREATE MACRO trace_id(number) AS
    left(md5(getvariable('seed') || 'trace'), 24) || hex_bits(number, 'trace');

-- Moments are milliseconds since 1970; none leaves its day.
CREATE MACRO later(moment, milliseconds) AS
    least((moment)::BIGINT + (milliseconds)::BIGINT, moment - moment % 86400000 + 86399999);
CREATE MACRO instant(moment) AS make_timestamptz((moment) * 1000);
CREATE MACRO utc_day(moment) AS make_timestamp((moment) * 1000)::DATE;
