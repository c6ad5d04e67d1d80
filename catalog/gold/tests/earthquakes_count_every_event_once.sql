-- Said another way than the model says it: every id whose newest revision is an earthquake that was not deleted.
with newest as (
    select id, max_by((type, status), (updated, _received_at)) as facts
    from {{ source('silver', 'earthquakes') }}
    group by id
)

select gold.total, silver.total as expected
from (select coalesce(sum(earthquakes), 0) as total from {{ ref('earthquakes_by_day') }}) as gold
cross join (select count_if(facts[1] = 'earthquake' and facts[2] <> 'deleted') as total from newest) as silver
where gold.total <> silver.total
