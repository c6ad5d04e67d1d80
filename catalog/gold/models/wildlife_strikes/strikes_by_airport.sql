select
    airport_name as airport,
    origin_state as state,
    {{ strike_measures() }},
    {{ unknown_species_measures() }}
from {{ source('silver', 'wildlife_strikes') }}
group by airport_name, origin_state
