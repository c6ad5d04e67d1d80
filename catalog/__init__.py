"""What the lake holds: contracts, the schemas they imply, names, tables and gold models. Imports no other part of Sluice."""
