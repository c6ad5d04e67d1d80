"""What the explorer says. Texts of more than a word or two live here, so that they read alike on every page."""

TITLE = "Sluice"
OVERVIEW = "Overview"
EXPLORE = "Explore"
SQL = "SQL"

TRINO_AWAY = "Trino does not answer, so there is nothing to show yet."
TRINO_AWAY_HELP = "Start the stack with `./sluice up`, or look at `./sluice status`. This page tries again by itself."
NO_TABLES = "The lake has no tables yet."
NO_TABLES_HELP = "Create them with `./sluice apply`, then send some events, for instance with `./sluice up --demo`."
NO_ROWS = "No row matches these filters."
EMPTY_TABLE = "This table has no rows yet."
NO_NUMBERS = "nothing yet"

OVERVIEW_INTRO = "Every stream from the broker to gold, live."
RATE_TITLE = "Events received per minute, last 30 minutes"
RATE_EMPTY = "No event was received in the last 30 minutes."
LAG_UNKNOWN = "Lag is not shown: {reason}."
COLUMN_HELP = {
    "Topic": "Records in the topic's partitions, by their offsets.",
    "Bronze": "Rows in bronze: one for each record, exactly as received.",
    "Silver": "Rows in silver: typed, checked, without duplicates.",
    "Quarantine": "Rows that broke their contract, kept with the reasons.",
    "Lag": "Records in the topic that are not in bronze yet.",
    "Newest event": "Time since the newest event in silver reached the gateway.",
    "Last 30 min": "Events received in the last 30 minutes.",
}

MASKED = "•••"
MASK_NOTE = (
    "Masked: {columns}. The contract classifies these as restricted or confidential, so Trino replaces the values "
    "and they never reach this page."
)
MASK_PAYLOAD_NOTE = "The payload holds those fields too and is masked as a whole."
REVEAL = "Show masked columns"
REVEAL_HELP = (
    "For purposes that the people concerned agreed to. Filter and sort by these columns only when they are shown."
)
CUT = "The first {rows} rows are shown; there are more. Raise the limit, or narrow the filters."
ALL = "All {rows} rows are shown."
CHART_ROWS = "The chart counts every row that matches the filters, not only those shown below."
CHART_CUT = "The chart shows the {rows} rows fetched below."
CHART_GROUPS = "The chart shows the {groups} groups that come first."

SQL_INTRO = (
    "One statement at a time; reading only. Names need a schema: `gold.strikes_by_species`, `silver.orders`. "
    "Ctrl+Enter runs it. Columns that Explore masks are not masked here."
)
SQL_EXAMPLE = """select species, strikes, cost_total
from gold.strikes_by_species
where not is_unknown
order by cost_total desc
limit 20"""
REFUSED = (
    "The explorer only reads: {word} is not among {allowed}. Use `./sluice sql` or another client for statements "
    "that change something."
)
REFUSED_EMPTY = "There is no statement to run."
REFUSED_ANALYZE = "EXPLAIN ANALYZE runs its statement, so here it may only be given one that reads."
