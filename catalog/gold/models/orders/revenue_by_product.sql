select
    product_id,
    currency,
    sum(orders) as orders,
    sum(units) as units,
    sum(revenue) as revenue,
    sum(orders_without_price) as orders_without_price,
    min(order_minute) as first_order_minute,
    max(order_minute) as last_order_minute
from {{ ref('revenue_by_product_minute') }}
group by product_id, currency
