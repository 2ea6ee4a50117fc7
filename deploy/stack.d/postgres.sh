# shellcheck shell=bash
# PostgreSQL: passwords only, and a role for cardquery that may create databases and roles but is no superuser.

# The directory with its programs: of the version that made the data, else of the newest installed.
postgres_programs() {
  local home version candidates
  if home=$(recall postgres.home) && version=$(cat "$home/data/PG_VERSION" 2>/dev/null); then
    candidates=("/usr/lib/postgresql/$version/bin")
  else
    mapfile -t candidates < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort --reverse)
  fi
  candidates+=("$(dirname "$(command -v initdb || echo /none)")")
  local directory
  for directory in "${candidates[@]}"; do
    if [[ -x $directory/initdb ]] && [[ $("$directory/postgres" --version) =~ \ ([0-9]+) ]] &&
      at_least 15 "${BASH_REMATCH[1]}"; then
      echo "$directory"
      return 0
    fi
  done
  return 1
}

postgres_ports() { echo "postgres 15432"; }

postgres_ready() { "$(postgres_programs)/pg_isready" -q -h 127.0.0.1 -p "$(port postgres)"; }

# Fast shutdown; SIGTERM would wait for every client to leave.
postgres_stop_signal() { echo INT; }

# PostgreSQL refuses to run as root.
postgres_user=()
if [[ $UID == 0 ]]; then
  postgres_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)
fi

# Its own directory: below the stack's where its user can reach that, else below /var/tmp.
postgres_create_home() {
  local home=$dir/postgres
  if ((${#postgres_user[@]})); then
    id postgres >/dev/null || { echo "PostgreSQL refuses to run as root, and there is no user postgres"; return 1; }
    "${postgres_user[@]}" test -x "$dir" || home=$(mktemp -d /var/tmp/cardquery-stack-postgres.XXXXXXXX)
    mkdir -p "$home"
    chown postgres: "$home"
  else
    mkdir -p "$home"
  fi
  remember postgres.home "$home"
}

postgres_remove_data() {
  local home
  home=$(recall postgres.home) || return 0
  [[ $home != /var/tmp/cardquery-stack-postgres.* ]] || rm -rf -- "$home"
}

postgres_initialise() { # programs, home
  rm -rf "$2/data.new"
  "${postgres_user[@]}" "$1/initdb" --pgdata="$2/data.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=reject --auth-host=reject --no-sync --no-instructions
  # Overwritten in place, because the file is to stay its user's.
  cat >"$2/data.new/pg_hba.conf" <<'HBA'
local all all scram-sha-256
host  all all 127.0.0.1/32 scram-sha-256
HBA
  # A single-user server needs no password to set passwords, and nobody to wait for. Whoever drops a database WITH (FORCE) has
  # to be a member of pg_signal_backend when the server is just vacuuming it.
  "${postgres_user[@]}" "$1/postgres" --single -D "$2/data.new" postgres >/dev/null <<SQL
CREATE ROLE cardquery LOGIN CREATEDB CREATEROLE IN ROLE pg_signal_backend PASSWORD '$(recall postgres.password)'
SQL
  mv "$2/data.new" "$2/data"
}

postgres_serve() {
  local programs home
  recall postgres.home >/dev/null || postgres_create_home
  home=$(recall postgres.home)
  programs=$(postgres_programs)
  cd /
  [[ -d $home/data ]] || postgres_initialise "$programs" "$home"
  # The kernel's limit for the name of a socket is 107 bytes.
  local sockets=$home
  ((${#sockets} < 80)) || sockets=''
  become "${postgres_user[@]}" "$programs/postgres" -D "$home/data" -c listen_addresses=127.0.0.1 \
    -c port="$(port postgres)" -c unix_socket_directories="$sockets" -c max_connections=300 -c fsync=on \
    -c password_encryption=scram-sha-256
}
