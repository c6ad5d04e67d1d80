{# Models live in the schema that they name, not in <target schema>_<name>. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}

{# One statement replaces the view and its comment, so that a reader never finds it missing or undescribed. #}
{% macro trino__create_view_as(relation, sql) -%}
  create or replace view {{ relation }}
  {%- if model.description and not relation.identifier.endswith('__dbt_tmp') %}
  comment '{{ model.description | trim | replace("'", "''") }}'
  {%- endif %}
  security {{ config.get('view_security', 'definer') }}
  as
    {{ sql }}
  ;
{%- endmacro %}

{# Comments travel in the create statements; one more commit for each of them and each refresh would buy nothing. #}
{% macro trino__persist_docs(relation, model, for_relation, for_columns) -%}
{%- endmacro %}
