{#
  Where a silver table is: its current snapshot, the Kafka offsets that the stream job has brought it to (partition → next
  offset, from the snapshot's summary) and how many rows it holds. None while the table has no snapshot.
#}
{% macro silver_progress(relation) %}
  {% set table = relation.database ~ '."' ~ relation.schema ~ '"."' ~ relation.identifier %}
  {% set found = run_query("
    select
        r.snapshot_id,
        (select max_by(element_at(summary, 'sluice.offsets'), committed_at)
         from " ~ table ~ "$snapshots\" where element_at(summary, 'sluice.offsets') is not null)
    from " ~ table ~ "$refs\" r where r.name = 'main'") %}
  {% if found.rows | length == 0 %}{{ return(none) }}{% endif %}
  {{ return({'snapshot': found.rows[0][0], 'offsets': found.rows[0][1]}) }}
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
