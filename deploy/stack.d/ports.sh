# shellcheck shell=bash
# Ports of 127.0.0.1: the one that the server had, else the preferred one, else the next that is free.

port() { # name
  recall "$1.port"
}

is_free() { # port
  ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

choose_ports() { # servers that are down…
  local server name from taken=' '
  # Brokers know each other by port: as long as one runs, the others come back where they were.
  if any_runs_of kafka; then
    set -- "${@/kafka-*/}"
  fi
  for server in "$@"; do
    [[ -n $server ]] || continue
    while read -r name from; do
      from=$(port "$name" || echo "$from")
      until is_free "$from" && [[ $taken != *" $from "* ]]; do from=$((from + 1)); done
      taken+="$from "
      remember "$name.port" "$from"
    done < <(of_kind ports "$server")
  done
}

any_runs_of() { # kind
  local server
  while read -r server; do
    if [[ $server == "$1"* ]] && is_running "$server"; then return 0; fi
  done < <(servers)
  return 1
}
