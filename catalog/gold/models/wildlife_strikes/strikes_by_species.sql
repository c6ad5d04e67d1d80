select
    wildlife_species as species,
    {{ unknown_species() }} as is_unknown,
    cast(count(*) as double) / sum(count(*)) over () as share_of_strikes,
    {{ strike_measures() }}
from {{ source('silver', 'wildlife_strikes') }}
group by wildlife_species
