{{
  config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['order_minute', 'product_id', 'currency'],
    on_schema_change='fail',
    properties={'partitioning': "array['day(order_minute)']"},
  )
}}
-- Only the minutes that rows beyond the offsets of the last refresh touched are computed again, each as a whole, so a late
-- order lands in its own minute. Everything is read at one snapshot: the figures and the offsets belong together.
-- Rows that reach silver behind those offsets (a replay) or leave it (an erasure) make the sum of source_rows differ from
-- silver's count; the refresher sees that and builds the table anew.
{% set orders = source('silver', 'orders') %}
{% set now = silver_progress(orders) if execute else none %}
{% set seen = none %}
{% set span = none %}
{% if now and now.offsets and is_incremental() %}
  {% set seen = run_query("select max_by(_silver_offsets, _refreshed_at) from " ~ this).rows[0][0] %}
{% endif %}
{% if seen %}
  {% set newer = newer_than(seen, now.offsets) %}
  {% set found = run_query("
    select cast(date_trunc('minute', min(\"timestamp\")) as varchar), cast(date_trunc('minute', max(\"timestamp\")) as varchar)
    from " ~ orders ~ " for version as of " ~ now.snapshot ~ " where " ~ newer).rows[0] %}
  {% set span = {'first': found[0], 'last': found[1]} %}
{% endif %}

with placed as (
    select
        date_trunc('minute', "timestamp") as order_minute,
        product_id,
        -- XXX is ISO 4217's code for "no currency"; a null could not be merged on.
        coalesce(currency, 'XXX') as currency,
        order_id,
        quantity,
        unit_price,
        _received_at,
        -- An order that was sent twice under two event ids is still one order.
        row_number() over (
            partition by date_trunc('minute', "timestamp"), product_id, coalesce(currency, 'XXX'), order_id
            order by _received_at, _kafka_partition, _kafka_offset
        ) as copy
    from {{ orders }} {% if now %}for version as of {{ now.snapshot }}{% endif %}

    {% if seen and span.first is none %}
    where false
    {% elif seen %}
    where "timestamp" >= timestamp '{{ span.first }}'
      and "timestamp" < timestamp '{{ span.last }}' + interval '1' minute
      and date_trunc('minute', "timestamp") in (
          select date_trunc('minute', "timestamp")
          from {{ orders }} for version as of {{ now.snapshot }}
          where {{ newer }}
      )
    {% endif %}
)

select
    order_minute,
    product_id,
    currency,
    count_if(copy = 1) as orders,
    coalesce(sum(quantity) filter (where copy = 1), 0) as units,
    cast(sum(quantity * unit_price) filter (where copy = 1) as decimal(38, 2)) as revenue,
    count_if(copy = 1 and unit_price is null) as orders_without_price,
    max(_received_at) as last_received_at,
    count(*) as source_rows,
    cast({{ now.snapshot if now else 'null' }} as bigint) as _silver_snapshot,
    cast({{ "'" ~ now.offsets ~ "'" if now and now.offsets else 'null' }} as varchar) as _silver_offsets,
    cast(current_timestamp at time zone 'UTC' as timestamp(6) with time zone) as _refreshed_at
from placed
group by order_minute, product_id, currency
