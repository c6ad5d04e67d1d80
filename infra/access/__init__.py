"""Who may do what: the accounts of the parts at the object store, in the catalog's database and in Trino."""
