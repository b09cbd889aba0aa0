"""All SQL: images, uploads, claims, renditions, deliveries, collections, dead letters, audit, tenants, keys.

Import from the modules: a function loads only those that it uses.
"""
