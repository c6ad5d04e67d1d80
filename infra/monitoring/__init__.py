"""Monitoring as code: rules, routes, dashboards."""
