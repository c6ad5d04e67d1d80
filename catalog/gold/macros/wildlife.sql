{# The species is not known: "Unknown bird - small", "Unknown bird or bat", … #}
{% macro unknown_species() -%}
wildlife_species like 'Unknown%'
{%- endmacro %}

{# The measures that every model of strikes shows, over rows of silver.wildlife_strikes. #}
{% macro strike_measures() %}
    count(*) as strikes,
    count_if(wildlife_size = 'Small') as small_strikes,
    count_if(wildlife_size = 'Medium') as medium_strikes,
    count_if(wildlife_size = 'Large') as large_strikes,
    count_if(damage <> 'None') as damaging_strikes,
    cast(count_if(damage <> 'None') as double) / count(*) as damaging_share,
    count_if(cost_total > 0) as strikes_with_cost,
    sum(cost_total) as cost_total,
    sum(cost_repair) as cost_repair,
    sum(cost_other) as cost_other,
    max(cost_total) as highest_cost,
    min(flight_date) as first_flight_date,
    max(flight_date) as last_flight_date
{% endmacro %}

{# How many of the strikes have no species, for models that are not by species themselves. #}
{% macro unknown_species_measures() %}
    count_if({{ unknown_species() }}) as unknown_species_strikes,
    cast(count_if({{ unknown_species() }}) as double) / count(*) as unknown_species_share
{% endmacro %}
