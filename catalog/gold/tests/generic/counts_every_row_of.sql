{#
  `source_rows` adds up to the rows that the silver table held at the snapshot that the model was last refreshed from.
  For incremental models, which may be some seconds behind silver.
#}
{% test counts_every_row_of(model, of) %}
{% set snapshot = run_query("select max_by(_silver_snapshot, _refreshed_at) from " ~ model).rows[0][0] if execute else none %}
{% if snapshot %}
select gold.total, silver.total as expected
from (select coalesce(sum(source_rows), 0) as total from {{ model }}) as gold
cross join (select count(*) as total from {{ of }} for version as of {{ snapshot }}) as silver
where gold.total <> silver.total
{% else %}
select 1 where false
{% endif %}
{% endtest %}
