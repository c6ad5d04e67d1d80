-- The feed is revised: an event may have been sent more than once, and its newest revision counts.
with revisions as (
    select
        *,
        row_number() over (
            partition by id
            order by updated desc, _received_at desc, _kafka_partition, _kafka_offset desc
        ) as age
    from {{ source('silver', 'earthquakes') }}
),

quakes as (
    select * from revisions
    where age = 1 and type = 'earthquake' and status <> 'deleted'
)

select
    cast("time" at time zone 'UTC' as date) as day,
    case
        when mag is null then 'unknown'
        when mag < 1 then 'below 1'
        when mag >= 7 then '7 and above'
        else format('%d to %d', cast(floor(mag) as integer), cast(floor(mag) as integer) + 1)
    end as magnitude_band,
    case
        when mag is null then -1
        else greatest(0, least(7, cast(floor(mag) as integer)))
    end as band_order,
    count(*) as earthquakes,
    max(mag) as strongest_magnitude,
    max_by(place, (coalesce(mag, -99e0), id)) as strongest_place,
    avg(depth) as average_depth_km,
    count_if(felt > 0) as felt_earthquakes,
    coalesce(sum(felt), 0) as felt_reports,
    count_if(tsunami = 1) as tsunami_flags,
    count_if(status = 'reviewed') as reviewed
from quakes
group by 1, 2, 3
