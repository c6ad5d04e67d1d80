# select.awk NAMES requirements.lock: the lock's entries, hashes included, of the packages that are named one a line.
function canonical(name) { name = tolower(name); gsub(/[._-]+/, "-", name); return name }
FNR == NR { wanted[canonical($1)]; next }
/^[A-Za-z0-9]/ { split($0, parts, /==|\[/); taken = canonical(parts[1]) in wanted }
taken
