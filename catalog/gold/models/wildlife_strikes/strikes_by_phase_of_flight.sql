select
    phase_of_flight,
    {{ strike_measures() }},
    {{ unknown_species_measures() }},
    count(speed_ias_knots) as strikes_with_speed,
    avg(cast(speed_ias_knots as double)) as average_speed_knots
from {{ source('silver', 'wildlife_strikes') }}
group by phase_of_flight
