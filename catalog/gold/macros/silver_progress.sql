{#
  Where a silver table is: its snapshot (the one in `vars.snapshots`, which the refresher fixes for a model and its tests, else the
  current one) and the Kafka offsets that the stream job has brought it to (partition → next offset, from the snapshots'
  summaries). None while the table has no snapshot.
#}
{% macro silver_progress(relation) %}
  {% set table = relation.database ~ '."' ~ relation.schema ~ '"."' ~ relation.identifier %}
  {% set fixed = var('snapshots', {}).get(relation.identifier) %}
  {% set snapshot = fixed or '(select snapshot_id from ' ~ table ~ '$refs" where name = \'main\')' %}
  {% set found = run_query('
    select
        max_by(snapshot_id, committed_at),
        max_by(element_at(summary, \'sluice.offsets\'), committed_at) filter (where element_at(summary, \'sluice.offsets\') is not null)
    from ' ~ table ~ '$snapshots"
    where committed_at <= (select committed_at from ' ~ table ~ '$snapshots" where snapshot_id = ' ~ snapshot ~ ')') %}
  {% set row = found.rows[0] %}
  {{ return({'snapshot': row[0], 'offsets': row[1]} if row[0] else none) }}
{% endmacro %}

{#
  The condition for the rows of silver that are newer than the offsets `seen` (JSON text), up to the offsets `now`.
  A partition that `seen` does not know is new as a whole.
#}
{% macro newer_than(seen, now) %}
  {% set seen = fromjson(seen) %}
  {% set conditions = [] %}
  {% set lowest = [] %}
  {% for partition in fromjson(now) %}
    {% do lowest.append(seen.get(partition, 0)) %}
    {% do conditions.append('(_kafka_partition = ' ~ partition ~ ' and _kafka_offset >= ' ~ seen.get(partition, 0) ~ ')') %}
  {% endfor %}
  {# The lowest offset alone is what lets Trino skip whole files by their statistics. #}
  {{ return('_kafka_offset >= ' ~ (lowest | min) ~ ' and (' ~ (conditions | join(' or ')) ~ ')') }}
{% endmacro %}
