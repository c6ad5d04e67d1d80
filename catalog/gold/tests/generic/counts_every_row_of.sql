{#
  `source_rows` adds up to the rows that the silver table holds at the snapshot that the refresher fixed (`vars.snapshots`), else at
  the one that the model was last refreshed from: an incremental model may be some seconds behind silver.
#}
{% test counts_every_row_of(model, of) %}
{% if execute %}
{% set fixed = var('snapshots', {}).get(of.identifier) %}
{% set snapshot = fixed or run_query("select max_by(_silver_snapshot, _refreshed_at) from " ~ model).rows[0][0] %}
{% endif %}
select gold.total, silver.total as expected
from (select coalesce(sum(source_rows), 0) as total from {{ model }}) as gold
cross join (
    select count(*) as total from {{ of }} {% if snapshot %}for version as of {{ snapshot }}{% endif %}

) as silver
where gold.total <> silver.total
{% endtest %}
