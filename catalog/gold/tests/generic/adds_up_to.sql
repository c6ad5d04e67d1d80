{# The sum of the column is what `expression` gives over another relation: no row of silver is lost or counted twice. #}
{% test adds_up_to(model, column_name, to, expression, only='true') %}
select gold.total, silver.total as expected
from (select coalesce(sum({{ column_name }}), 0) as total from {{ model }}) as gold
cross join (select {{ expression }} as total from {{ to }} where {{ only }}) as silver
where gold.total <> silver.total
{% endtest %}
