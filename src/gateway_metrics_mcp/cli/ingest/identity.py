"""Each call counts once: settles which rows of an import are new, known already, or newer.

A call is known by its trace and span id (for LiteLLM both are the request id) and, where spans of
one call lie in two traces, by the response id and model. Rows of one call become one row: of two
that differ the newer wins, and a value that only the other has is kept.

Everything is a table of the import's database, so that memory stays bounded.
"""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway_metrics_mcp.backends.duckdb.manifest import needs_manifest
from gateway_metrics_mcp.backends.duckdb.stored import IDENTITY_COLUMNS
from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN, quote_identifier
from gateway_metrics_mcp.cli.ingest.directory import DataDirectory, RunRecord, read_record
from gateway_metrics_mcp.cli.ingest.mapping import Match, sql_text
from gateway_metrics_mcp.cli.ingest.sources import SourceFile
from gateway_metrics_mcp.errors import SettingsError

if TYPE_CHECKING:
    import duckdb

SOURCE_DIGITS: Final = 16
"""How many hex digits of a file's SHA-256 a row carries in `import_source`."""
OWN_COLUMNS: Final = {"_call": "UUID", "_response": "UUID", "_parent": "UUID"}
"""Of each row that is read: its call, its response and its parent's call, or null."""
_KEPT: Final = {"call_id": "UUID", "call_response": "UUID", "import_source": "VARCHAR"}
"""What is told of a row beside the table's columns."""
_STORED: Final = dict(
    zip(IDENTITY_COLUMNS, ("call_id IS NOT NULL", "call_response", "import_source"), strict=True)
)
"""What is stored of that: a call's id is made anew of those of its trace and span."""
_APART: Final = {
    "gateway_model_metrics": ("VirtualModelTargetAttempt",),
    "gateway_guardrail_metrics": ("GuardrailId", "GuardrailName"),
    "gateway_config_metrics": (
        *("ConfigType", "RuleId", "ResolvedRuleId"),
        *("LoadbalanceRuleId", "RatelimitRuleId", "BudgetRuleId"),
    ),
}
"""What tells rows of one span apart, where a span has several."""
_SUBJECT: Final = (
    *("CreatedBySubjectSlug", "CreatedBySubjectType", "CreatedBySubjectId", "CreatedBySubject"),
)
_OUTCOME: Final = ("ErrorType", "HttpStatusCode")
_MOST_STEPS: Final = 100
"""How many spans that are no calls may lie between two that are."""
_MOST_PAIRS: Final = 1_000_000
"""A response id with more pairs of rows, new and known, is no id but a constant."""


def call_of(table: str, values: Mapping[str, str]) -> str:
    """SQL for a row's `call_id`, from SQL for its columns; null without a trace and a span id."""
    ids = [values.get(name) for name in ("TraceId", "SpanId")]
    if None in ids:
        return "NULL::UUID"
    trace, span = ids
    apart = "".join(
        f" || coalesce(chr(31) || {values[name]}, '')"
        for name in _APART.get(table, ())
        if name in values
    )
    return f"md5(nullif({trace}, '') || chr(31) || nullif({span}, ''){apart})::UUID"


def identify(table: str, match: Match, targets: Sequence[str]) -> str:
    """SQL for `OWN_COLUMNS` of a row whose n-th target has the value `v<n>`.

    Ids that are made up from content and row number identify nothing.
    """
    values = {name: f"v{n}" for n, name in enumerate(targets)}
    call = call_of(table, values) if match.has_ids else "NULL"
    response, parent = "NULL", "NULL"
    if match.response is not None:
        response = f"md5(filled({match.response}))::UUID"
    if match.parent is not None and match.has_ids:
        near = f"nullif(regexp_replace({match.parent}, '^0x', ''), '')"
        parent = f"md5({values['TraceId']} || chr(31) || {near})::UUID"
    return f'{call} AS "_call", {response} AS "_response", {parent} AS "_parent"'


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A day's file of an earlier run that counts."""

    run: str
    day: str
    path: Path
    sources: tuple[tuple[str, int], ...] = ()
    """Of an earlier version's run, whose rows do not tell their file: each file's hash and rows."""

    @property
    def source(self) -> str | None:
        """The `import_source` of all its rows, if they do not tell it and the run had one file."""
        return self.sources[0][0][:SOURCE_DIGITS] if len(self.sources) == 1 else None


@dataclass(slots=True)
class Settled:
    """What became of the good rows of an import."""

    new: int = 0
    known: int = 0
    """Those of calls that the data, or other rows of the import, tell all about."""
    replaced: int = 0
    """Those that take the place of a row of an earlier run."""
    wrapping: int = 0
    """Of the known ones, those whose call another span of the import tells of."""
    unmatched: int = 0
    """Of the new ones, those that nothing identifies."""
    unmatched_before: int = 0
    """Rows of earlier runs in the same days that nothing identifies."""
    withdrawn: int = 0
    """Rows of earlier runs that came from the files that are replaced."""
    taken_over: int = 0
    """Other rows of the days of earlier runs that this one holds now."""
    drops: dict[str, set[str]] = field(default_factory=dict)
    """Days of earlier runs that this one holds now."""

    def facts(self) -> dict[str, int]:
        """The counts by name, for the run's record."""
        facts = asdict(self)
        del facts["drops"]
        return facts


def find_stored(
    directory: DataDirectory, days: Collection[str], replaced: Sequence[SourceFile]
) -> list[StoredDay]:
    """The files of these days and of those around them; of all days if files are `replaced`.

    Raises:
        SettingsError: if rows of a file to replace cannot be told from others of its run.
    """
    around = {
        (date.fromisoformat(day) + timedelta(days=step)).isoformat()
        for day in days
        for step in (-1, 0, 1)
    }
    found = directory.live_files(None if replaced else around)
    sources = {}
    for run in {run for run, _ in found if replaced or not needs_manifest(run)}:
        try:
            record = read_record(directory.folder / run)
        except FileNotFoundError:
            record = RunRecord([], None)
        if not needs_manifest(run):
            sources[run] = tuple((s["sha256"], s["rows"] + s["refused"]) for s in record.listed)
        for source in replaced:
            if source.sha256 in record.sources and not record.tells_rows_of(run, source.sha256):
                raise SettingsError(
                    f"--replace: {source.path} came in together with others in {run}, whose rows an"
                    " earlier version wrote, without a word of their files. Remove that folder, and"
                    f" {record.way_back()}"
                )
    return [StoredDay(run, day, path, sources.get(run, ())) for (run, day), path in found.items()]


class Settlement:
    """Settles the rows of `staged` and makes the view `fresh`, the rows to write."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        columns: Mapping[str, str],
        sources: Sequence[str],
    ) -> None:
        """`sources` are the content hashes of the files, by their numbers in `_file`."""
        self._connection = connection
        self._table = table
        self._columns = columns
        self._listed = ", ".join(map(quote_identifier, columns))
        listed = ", ".join(sql_text(source[:SOURCE_DIGITS]) for source in sources)
        self._source = f'([{listed}])["_file" + 1]'
        self._stored: Sequence[StoredDay] = ()
        self._settled = Settled()

    def settle(self, stored: Sequence[StoredDay], replaced: Collection[str] = ()) -> Settled:
        """Settle the good rows; `stored` are the files of their days and of those around them.

        `replaced` are the hashes of files whose rows in `stored` make room for the new ones.
        """
        self._stored = stored
        self._execute(
            'CREATE VIEW calls AS SELECT rowid AS "_id", * FROM staged WHERE "_verdict" IS NULL'
        )
        self._join_repeats()
        has_spans = self._join_spans()
        self._make_batch(has_spans=has_spans)
        self._execute("CREATE TABLE removed (file INTEGER, n BIGINT)")
        self._execute("CREATE TABLE settled (head BIGINT)")
        self._create_like_batch("newer")
        if stored:
            self._list_stored()
            self._withdraw(replaced)
            self._find_known(has_spans=has_spans)
            if not replaced:
                self._count_unmatched()
        self._make_fresh()
        self._count()
        return self._settled

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement)

    def _value(self, query: str) -> int:
        ((value,),) = self._connection.execute(query).fetchall()
        return int(value)

    # --- rows of one call in the files themselves ---

    def _join_repeats(self) -> None:
        """List rows with the identity of another in `bundles`; the last one leads."""
        self._execute(
            """
            CREATE TABLE bundles AS
            SELECT "_id" AS id, first_value("_id") OVER same AS head,
                row_number() OVER same - 1 AS rank
            FROM calls
            WHERE "_call" IN (
                SELECT "_call" FROM staged
                WHERE "_verdict" IS NULL AND "_call" IS NOT NULL GROUP BY ALL HAVING count(*) > 1
            )
            WINDOW same AS (PARTITION BY "_call" ORDER BY "_id" DESC)
            """
        )

    def _join_spans(self) -> bool:
        """Add spans around spans of the same call to `bundles`; whether there are any spans."""
        spans = 'SELECT 1 FROM calls WHERE "_parent" IS NOT NULL OR "_response" IS NOT NULL LIMIT 1'
        if not self._connection.execute(spans).fetchall():
            return False
        self._execute(
            """
            CREATE VIEW spans AS SELECT calls.* FROM calls
            ANTI JOIN (SELECT id FROM bundles WHERE id <> head) ON id = "_id"
            """
        )
        self._find_inner_spans()
        self._choose_inner_spans()
        self._find_responses()
        self._find_overlapping_spans()
        self._execute(
            """
            CREATE OR REPLACE TABLE bundles AS
            WITH repeats AS (
                SELECT * FROM bundles
                UNION ALL
                SELECT id, id, 0 FROM (
                    SELECT id FROM wrapping UNION SELECT head FROM wrapping
                    UNION SELECT id FROM overlapping
                )
                WHERE id NOT IN (SELECT id FROM bundles)
            ),
            joined AS (
                SELECT repeats.id, coalesce(w.head, repeats.head) AS head,
                    repeats.rank AS nearest, coalesce(w.rank, 0) AS near
                FROM repeats LEFT JOIN wrapping AS w ON w.id = repeats.head
            )
            SELECT joined.id, coalesce(o.head, joined.head) AS head, row_number() OVER (
                PARTITION BY coalesce(o.head, joined.head)
                ORDER BY coalesce(o.rank, 0), near, nearest
            ) - 1 AS rank
            FROM joined LEFT JOIN overlapping AS o ON o.id = joined.head
            """
        )
        self._settled.wrapping = self._value(
            """
            SELECT (SELECT count(*) FROM wrapping)
                + (SELECT count(*) FROM overlapping WHERE id <> head)
            """
        )
        return True

    def _find_inner_spans(self) -> None:
        """Find spans of model calls with another inside; `nested` has every pair."""
        self._execute('CREATE TABLE climbing AS SELECT "_id" AS id, "_parent" AS up FROM spans')
        self._execute("CREATE TABLE nested (inside BIGINT, around BIGINT)")
        for _ in range(_MOST_STEPS):
            self._execute(
                """
                INSERT INTO nested SELECT DISTINCT id, "_id" FROM climbing
                JOIN spans ON "_call" = up WHERE "_id" <> id
                """
            )
            self._execute(
                """
                CREATE OR REPLACE TABLE climbing AS SELECT DISTINCT id, "_parent" AS up
                FROM climbing JOIN staged ON "_call" = up
                WHERE "_verdict" IS NOT NULL AND "_parent" IS NOT NULL
                """
            )
            if not self._value("SELECT count(*) FROM climbing"):
                break

    def _choose_inner_spans(self) -> None:
        """List spans around one of the same call in `wrapping`, with the innermost as its head."""
        # Without both response ids one model, of one kind, tells; a failure inside a success is
        # an attempt that was made again. Of several inside, the one with the response is meant.
        self._execute(
            """
            CREATE TABLE wrapping AS
            SELECT o."_id" AS id, i."_id" AS head, o."CreatedAt" AS start
            FROM nested JOIN spans AS i ON i."_id" = inside JOIN spans AS o ON o."_id" = around
            WHERE i."_response" = o."_response" OR (
                (i."_response" IS NULL OR o."_response" IS NULL)
                AND list_has_any(
                    list_filter([i."ModelName", i."ProviderModelName"], lambda m: m IS NOT NULL),
                    [o."ModelName", o."ProviderModelName"]
                )
                AND (i."ModelType" IS NOT DISTINCT FROM 'embedding')
                    = (o."ModelType" IS NOT DISTINCT FROM 'embedding')
                AND NOT (coalesce(i."IsFailure", FALSE) AND NOT coalesce(o."IsFailure", FALSE))
            )
            QUALIFY row_number() OVER (
                PARTITION BY o."_id"
                ORDER BY coalesce(i."_response" = o."_response", FALSE) DESC,
                    i."CreatedAt" DESC, i."_id" DESC
            ) = 1
            """
        )
        self._lead_to_innermost()

    def _lead_to_innermost(self) -> None:
        for _ in range(_MOST_STEPS):
            moved = self._value(
                """
                SELECT count(*) FROM wrapping AS a JOIN wrapping AS b ON a.head = b.id
                WHERE a.head <> b.head
                """
            )
            if not moved:
                break
            self._execute(
                "UPDATE wrapping SET head = b.head FROM wrapping AS b WHERE wrapping.head = b.id"
            )
        # What is left leads round in a circle.
        self._execute("DELETE FROM wrapping WHERE head IN (SELECT id FROM wrapping)")
        self._execute(
            """
            CREATE OR REPLACE TABLE wrapping AS
            SELECT id, head, row_number() OVER (PARTITION BY head ORDER BY start DESC, id) AS rank
            FROM wrapping
            """
        )

    def _find_responses(self) -> None:
        """Make `told`, the response of each call: its id and model."""
        self._execute(
            """
            CREATE TABLE told AS
            SELECT "_id" AS id, md5(
                coalesce("_response", response)::VARCHAR || coalesce(chr(31) || "ModelName", '')
            )::UUID AS response
            FROM spans LEFT JOIN (
                SELECT head, max("_response") AS response
                FROM wrapping JOIN spans ON id = "_id" GROUP BY head
            ) ON head = "_id"
            WHERE "_id" NOT IN (SELECT id FROM wrapping)
                AND coalesce("_response", response) IS NOT NULL
            """
        )

    def _find_overlapping_spans(self) -> None:
        """Find spans with one response at one time.

        A call that a cache answers has the response of an earlier one, but begins after its end.
        """
        self._execute(
            f"""
            CREATE TABLE overlapping AS
            WITH spanning AS (
                SELECT id, response, {_START} AS start, {_END} AS "end",
                    ("InputTokens" IS NOT NULL)::INTEGER + ("OutputTokens" IS NOT NULL)::INTEGER
                        + ("CostInUSD" IS NOT NULL)::INTEGER AS worth,
                    "LatencyMs" AS length
                FROM told JOIN spans ON id = "_id"
                WHERE response IN (SELECT response FROM told GROUP BY ALL HAVING count(*) > 1)
            ),
            begun AS (
                SELECT *, coalesce(start > max("end") OVER (
                    PARTITION BY response ORDER BY start, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), TRUE) AS is_first
                FROM spanning
            ),
            numbered AS (
                SELECT *, count(*) FILTER (is_first) OVER (
                    PARTITION BY response ORDER BY start, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) AS number
                FROM begun
            )
            SELECT id, first_value(id) OVER same AS head, row_number() OVER same - 1 AS rank
            FROM numbered
            WINDOW same AS (
                PARTITION BY response, number ORDER BY worth DESC, length NULLS LAST, id
            )
            QUALIFY count(*) OVER (PARTITION BY response, number) > 1
            """
        )

    def _make_batch(self, *, has_spans: bool) -> None:
        """Make the view `batch`: a row for each call, with what is stored beside its columns."""
        response = "NULL::UUID"
        told = ""
        if has_spans:
            response, told = "told.response", 'LEFT JOIN told ON told.id = "_id"'
        self._execute(
            f"""
            CREATE VIEW offered AS
            SELECT "_id", {self._listed}, "_call" AS call_id, {response} AS call_response,
                {self._source} AS import_source
            FROM good {told}
            """
        )
        self._create_like_batch("joined")
        self._execute("CREATE TABLE gone (id BIGINT)")
        if self._value("SELECT count(*) FROM bundles"):
            self._merge_bundles()
        self._execute(
            """
            CREATE VIEW batch AS
            SELECT offered.* FROM offered ANTI JOIN gone ON id = "_id"
            UNION ALL BY NAME SELECT * FROM joined
            """
        )

    def _merge_bundles(self) -> None:
        """Merge rows of one call to `joined`; `gone` has those that are not written as they are."""
        # Mostly the rows of a call are equal: then one of them is enough.
        self._execute(
            f"""
            CREATE TABLE differing AS
            SELECT id, head, row_number() OVER (PARTITION BY head ORDER BY rank) - 1 AS rank
            FROM (
                SELECT head, arg_min(id, rank) AS id, min(rank) AS rank
                FROM bundles JOIN (SELECT "_id", hash({self._listed}) AS print FROM good)
                    ON id = "_id"
                GROUP BY head, print
            )
            QUALIFY count(*) OVER (PARTITION BY head) > 1
            """
        )
        self._merge(
            """
            SELECT head, rank, offered.* EXCLUDE ("_id") FROM offered JOIN differing ON id = "_id"
            """,
            into="joined",
        )
        self._execute(
            """
            INSERT INTO gone
            SELECT id FROM bundles WHERE id <> head UNION ALL SELECT "_id" FROM joined
            """
        )

    def _create_like_batch(self, name: str) -> None:
        self._execute(f"CREATE TABLE {name} AS SELECT * FROM offered LIMIT 0")

    def _merge(self, parts: str, *, into: str) -> None:
        """Make one row of each head's parts: of two values that of the lower rank wins."""
        self._execute(f"CREATE OR REPLACE TABLE parts AS {parts}")
        # Pairs are merged, then pairs of those: rounds are few, whatever the number of parts.
        while self._value("SELECT coalesce(max(rank), 0) FROM parts"):
            self._execute(
                f"""
                CREATE OR REPLACE TABLE parts AS
                SELECT a.head, a.rank // 2 AS rank, {self._values()}
                FROM parts AS a LEFT JOIN parts AS b ON b.head = a.head AND b.rank = a.rank + 1
                WHERE a.rank % 2 = 0
                """
            )
        self._execute(
            f'INSERT INTO {into} BY NAME SELECT head AS "_id", * EXCLUDE (head, rank) FROM parts'
        )

    def _values(self) -> str:
        """SQL for the columns of the row that two, `a` and `b`, make."""
        return ", ".join(
            f"{_merged(name, type_, self._columns)} AS {quote_identifier(name)}"
            for name, type_ in self._pairs()
        )

    def _pairs(self) -> list[tuple[str, str]]:
        return [*self._columns.items(), *_KEPT.items()]

    # --- rows of earlier runs ---

    def _list_stored(self) -> None:
        """Make `stored`, the files' numbers, and `known`, their rows in the layout of today."""
        self._execute("CREATE TABLE stored (file INTEGER, path VARCHAR, run VARCHAR)")
        for number, one in enumerate(self._stored):
            row = [number, str(one.path), one.run]
            self._connection.execute("INSERT INTO stored VALUES (?, ?, ?)", row)
        self._execute(f"CREATE VIEW known AS {self._select_stored(self._stored)}")

    def _select_stored(self, files: Sequence[StoredDay]) -> str:
        """SQL for rows of files: `file`, `n` and the columns, also of runs without identities."""
        read = (
            f"read_parquet([{_paths(files)}], union_by_name = true, filename = true,"
            " file_row_number = true, hive_partitioning = false)"
        )
        there = {name for name, *_ in self._connection.execute(f"DESCRIBE FROM {read}").fetchall()}
        values = {
            name: f"f.{quote_identifier(name)}" if name in there else f"NULL::{_SQL_TYPES[type_]}"
            for name, type_ in self._columns.items()
        }
        call, source = call_of(self._table, values), "NULL::VARCHAR"
        if "has_call_id" in there:
            call = f"CASE WHEN f.has_call_id IS NOT FALSE THEN {call} END"
        response = "f.call_response" if "call_response" in there else "NULL::UUID"
        source = "f.import_source" if "import_source" in there else "NULL::VARCHAR"
        if alone := {str(one.path): one.source for one in files if one.source}:
            cases = " ".join(f"WHEN {sql_text(p)} THEN {sql_text(s)}" for p, s in alone.items())
            source = f"coalesce({source}, CASE f.filename {cases} END)"
        listed = ", ".join(f"{value} AS {quote_identifier(name)}" for name, value in values.items())
        return (
            f"SELECT stored.file, f.file_row_number AS n, {listed}, {call} AS call_id,"
            f" {response} AS call_response, {source} AS import_source"
            f" FROM {read} AS f JOIN stored ON stored.path = f.filename"
        )

    def _count_unmatched(self) -> None:
        """Count the rows of `stored` whose ids were made up, so that no row could match them."""
        told = [one for one in self._stored if needs_manifest(one.run)]
        if told:
            self._settled.unmatched_before = self._value(
                f"""
                SELECT count(*) FROM read_parquet([{_paths(told)}], hive_partitioning = false)
                WHERE NOT has_call_id
                """
            )
        for run in {one.run for one in self._stored if one.sources}:
            files = [one for one in self._stored if one.run == run]
            # A few numbers of rows show whether it is worth to make the ids of all.
            if self._count_made_up(files, 4_096):
                self._settled.unmatched_before += self._count_made_up(files)

    def _count_made_up(self, files: Sequence[StoredDay], most: int | None = None) -> int:
        listed = ", ".join(f"({sql_text(sha256)}, {rows})" for sha256, rows in files[0].sources)
        step = f"greatest(1, rows // {most})" if most else "1"
        return self._value(
            f"""
            SELECT count(*) FROM read_parquet([{_paths(files)}], hive_partitioning = false)
            WHERE "TraceId" IN (
                SELECT md5(source || ':' || unnest(range(1, rows + 1, {step})))
                FROM (VALUES {listed}) AS made (source, rows)
            )
            """
        )

    def _withdraw(self, replaced: Collection[str]) -> None:
        """Remove the rows that came from files which are imported again to replace them."""
        if not replaced:
            return
        listed = ", ".join(sql_text(source[:SOURCE_DIGITS]) for source in replaced)
        self._execute(
            f"INSERT INTO removed SELECT file, n FROM known WHERE import_source IN ({listed})"
        )
        self._settled.withdrawn = self._value("SELECT count(*) FROM removed")

    def _find_known(self, *, has_spans: bool) -> None:
        """Find the calls of `batch` in earlier runs: what is new about them goes to `newer`."""
        self._execute(
            """
            CREATE TABLE hits AS
            SELECT file, n, min(head) AS head, FALSE AS by_response
            FROM known JOIN (
                SELECT "_call", coalesce(head, "_id") AS head
                FROM calls LEFT JOIN bundles ON id = "_id" WHERE "_call" IS NOT NULL
            ) ON call_id = "_call"
            WHERE NOT EXISTS (FROM removed WHERE removed.file = known.file AND removed.n = known.n)
            GROUP BY file, n
            """
        )
        if has_spans:
            self._find_known_responses()
        if not self._value("SELECT count(*) FROM hits"):
            return
        # Rows are hashed before they are joined: what is joined has to be kept in memory.
        self._execute(
            f"""
            CREATE TABLE seen AS
            SELECT file, n, head, by_response, print, coalesce(rows, 1) AS rows
            FROM (SELECT file, n, hash({_each("known", self._columns)}) AS print FROM known)
            JOIN hits USING (file, n)
            LEFT JOIN (
                SELECT head, count(*) AS rows FROM hits GROUP BY head HAVING count(*) > 1
            ) USING (head)
            """
        )
        self._execute(
            f"""
            INSERT INTO settled
            SELECT head FROM seen
            JOIN (SELECT "_id", hash({self._listed}) AS print FROM batch) AS b
                ON b."_id" = head AND b.print = seen.print
            WHERE rows = 1
            """
        )
        self._merge_known()

    def _merge_known(self) -> None:
        """Merge calls that differ from what is known, and keep those that this changes."""
        self._execute("CREATE TABLE open AS SELECT * FROM seen ANTI JOIN settled USING (head)")
        if not self._value("SELECT count(*) FROM open"):
            return
        known = "(SELECT head, known.*, print FROM known JOIN open USING (file, n) WHERE rows = 1"
        self._merge_pairs(f"batch AS a JOIN {known} AND NOT by_response) AS b ON a._id = b.head")
        self._merge_pairs(f"{known} AND by_response) AS a JOIN batch AS b ON b._id = a.head")
        self._execute(
            """
            INSERT INTO settled
            SELECT head FROM open ANTI JOIN newer ON head = "_id" WHERE rows = 1
            """
        )
        if self._value("SELECT count(*) FROM open WHERE rows > 1"):
            self._merge_several()
        self._execute(
            """
            INSERT INTO removed SELECT file, n FROM open
            WHERE head IN (SELECT "_id" FROM newer)
            """
        )

    def _merge_pairs(self, pairs: str) -> None:
        """Merge the rows `a` and `b` of each head; those that differ from the known one stay."""
        listed = ", ".join(map(quote_identifier, self._names()))
        self._execute(
            f"""
            INSERT INTO newer BY NAME
            SELECT head AS "_id", {listed}
            FROM (SELECT head, print, {self._values()} FROM {pairs})
            WHERE hash({self._listed}) <> print
            """
        )

    def _merge_several(self) -> None:
        """Merge calls of which earlier versions have several rows."""
        listed = ", ".join(map(quote_identifier, self._names()))
        self._execute(
            """
            CREATE TABLE ranked AS
            SELECT head, file, n, row_number() OVER (
                PARTITION BY head ORDER BY place, run DESC, file DESC, n DESC
            ) - 1 AS rank
            FROM (
                SELECT head, file, n, run, by_response::INTEGER AS place
                FROM open JOIN stored USING (file) WHERE rows > 1
                UNION ALL
                SELECT head, NULL, NULL, NULL, CASE WHEN bool_and(by_response) THEN 2 ELSE -1 END
                FROM open WHERE rows > 1 GROUP BY head
            )
            """
        )
        self._merge(
            f"""
            SELECT head, rank, {_each("known", self._names())}
            FROM known JOIN ranked USING (file, n)
            UNION ALL BY NAME
            SELECT head, rank, {listed} FROM batch JOIN ranked ON head = "_id" WHERE file IS NULL
            """,
            into="newer",
        )

    def _names(self) -> list[str]:
        return [name for name, _ in self._pairs()]

    def _find_known_responses(self) -> None:
        """Add rows with the response of a call, at the same time, to `hits`."""
        # By the keys alone first: with those there are times to compare for few rows.
        self._execute(
            """
            CREATE TABLE answers AS
            SELECT known.call_response, count(*) AS rows FROM known
            WHERE call_response IN (SELECT response FROM told) GROUP BY ALL
            """
        )
        self._execute(
            f"""
            INSERT INTO hits
            SELECT known.file, known.n, min(offered."_id"), TRUE
            FROM known JOIN told ON told.response = known.call_response
            JOIN offered ON offered."_id" = told.id
            WHERE told.response IN (
                SELECT told.response FROM told JOIN answers ON told.response = call_response
                GROUP BY told.response, rows HAVING count(*) * rows <= {_MOST_PAIRS}
            )
                AND offered."_id" NOT IN (SELECT id FROM bundles WHERE id <> head)
                AND NOT EXISTS (FROM hits WHERE hits.file = known.file AND hits.n = known.n)
                AND NOT EXISTS (
                    FROM removed WHERE removed.file = known.file AND removed.n = known.n
                )
                AND {_time("known", _START)} <= {_time("offered", _END)}
                AND {_time("offered", _START)} <= {_time("known", _END)}
            GROUP BY known.file, known.n
            """
        )

    # --- what is written ---

    def _make_fresh(self) -> None:
        """Make the view `fresh`: new and newer rows, and what is left of days that they change."""
        names = ", ".join(map(quote_identifier, self._names()))
        self._execute(
            'CREATE TABLE before AS SELECT head FROM settled UNION SELECT "_id" FROM newer'
        )
        self._execute("INSERT INTO gone SELECT head FROM before")
        has_gone = self._value("SELECT count(*) FROM gone")
        parts = [
            f"SELECT {names} FROM offered{' ANTI JOIN gone ON id = _id' if has_gone else ''}",
            f"SELECT {names} FROM joined ANTI JOIN before ON head = _id",
            f"SELECT {names} FROM newer",
        ]
        changed = self._connection.execute(
            "SELECT DISTINCT file FROM removed ORDER BY 1"
        ).fetchall()
        files = [self._stored[number] for (number,) in changed]
        for one in files:
            self._settled.drops.setdefault(one.run, set()).add(one.day)
        if files:
            self._execute(f"CREATE VIEW changed AS {self._select_stored(files)}")
            self._settled.taken_over = self._value(
                "SELECT (SELECT count(*) FROM changed) - (SELECT count(*) FROM removed)"
            )
            parts.append(
                f"""
                SELECT {names} FROM changed WHERE NOT EXISTS (
                    FROM removed WHERE removed.file = changed.file AND removed.n = changed.n
                )
                """
            )
        stored = ", ".join(f"{value} AS {name}" for name, value in _STORED.items())
        listed = ", ".join(map(quote_identifier, self._columns))
        rows = " UNION ALL ".join(parts)
        self._execute(f"CREATE VIEW fresh AS SELECT {listed}, {stored} FROM ({rows}) AS rows")

    def _count(self) -> None:
        found = self._settled
        ((good, found.unmatched),) = self._connection.execute(
            """
            SELECT count(*), count(*) FILTER ("_call" IS NULL AND "_response" IS NULL) FROM calls
            """
        ).fetchall()
        found.replaced = self._value("SELECT count(*) FROM newer")
        found.known = self._value(
            """
            SELECT (SELECT count(*) FROM bundles WHERE id <> head) + (SELECT count(*) FROM settled)
            """
        )
        found.new = good - found.known - found.replaced


_SQL_TYPES: Final = {
    "TEXT": "VARCHAR",
    "TIMESTAMPTZ": "TIMESTAMPTZ",
    "INTEGER": "INTEGER",
    "BIGINT": "BIGINT",
    "DOUBLE PRECISION": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}
_START: Final = f'"{TIME_COLUMN}"'
_END: Final = f'"{TIME_COLUMN}" + to_microseconds(coalesce(round("LatencyMs" * 1000), 0)::BIGINT)'


def _time(relation: str, text: str) -> str:
    return text.replace('"CreatedAt"', f'{relation}."CreatedAt"').replace(
        '"LatencyMs"', f'{relation}."LatencyMs"'
    )


def _paths(files: Sequence[StoredDay]) -> str:
    return ", ".join(sql_text(glob.escape(str(one.path))) for one in files)


def _each(relation: str, names: Collection[str]) -> str:
    return ", ".join(f"{relation}.{quote_identifier(name)}" for name in names)


def _merged(name: str, type_: str, columns: Collection[str]) -> str:
    """SQL for the value of two rows `a` and `b` of one call: that of `a`, if it says something."""
    a, b = f"a.{quote_identifier(name)}", f"b.{quote_identifier(name)}"
    if name in _SUBJECT:  # as a whole: no one's name with another's type
        return f"CASE WHEN {_OTHER_SUBJECT} THEN {b} ELSE {a} END"
    if name == "call_id":  # as the ids
        return a
    if name in _OUTCOME and "IsFailure" in columns:  # no error in a success
        return f"CASE WHEN {_SAME_OUTCOME} THEN coalesce({a}, {b}) ELSE {a} END"
    if name in ("Method", "ConfigType"):
        return f"CASE WHEN {a} <> 'unknown' THEN {a} ELSE coalesce({b}, {a}) END"
    if type_.startswith("Map"):
        both = f"map_concat({b}, {a})"
        return f"CASE WHEN {a} IS NULL THEN {b} WHEN {b} IS NULL THEN {a} ELSE {both} END"
    if type_.startswith("Array"):
        return f"CASE WHEN len({a}) > 0 THEN {a} ELSE coalesce({b}, {a}) END"
    return f"coalesce({a}, {b})"


# Without one, the subject is `imported`; without a user, a key or a service.
_OTHER_SUBJECT: Final = """
    a."CreatedBySubjectSlug" = 'imported' AND b."CreatedBySubjectSlug" <> 'imported'
    OR a."CreatedBySubjectType" <> 'user' AND b."CreatedBySubjectType" = 'user'
"""
_SAME_OUTCOME: Final = 'a."IsFailure" IS NOT DISTINCT FROM b."IsFailure"'
