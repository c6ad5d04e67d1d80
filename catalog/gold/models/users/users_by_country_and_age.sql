with aged as (
    select
        country,
        date_diff('year', date_of_birth, current_date) as age,
        registered,
        updated_at
    from {{ source('silver', 'users') }}
)

select
    country,
    case
        when age is null then 'unknown'
        when age < 18 then 'under 18'
        when age < 25 then '18-24'
        when age < 35 then '25-34'
        when age < 45 then '35-44'
        when age < 55 then '45-54'
        when age < 65 then '55-64'
        else '65 and over'
    end as age_band,
    count(*) as users,
    avg(cast(age as double)) as average_age,
    min(registered) as first_registered_at,
    max(registered) as last_registered_at,
    max(updated_at) as last_updated_at
from aged
group by 1, 2
