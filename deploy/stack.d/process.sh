# shellcheck shell=bash
# Starting servers, knowing them again, and stopping exactly those.
#
# A server is known by its process id and the instant at which that process started, because ids are used again.
# The id is that of the subshell which prepares the server and then becomes it, so there is no instant at which
# something runs that `down` does not know.

readonly WAIT_LIMIT=120 STOP_LIMIT=60 LOG_LINES=30

started_at() { # process id; in clock ticks since boot, fails if the process has ended
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in parentheses may hold anything; what follows it is the third field, the state.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

pid_of() { # server
  local pid _
  read -r pid _ < <(recall "$1.pid") && echo "$pid"
}

is_running() { # server
  local pid started
  read -r pid started < <(recall "$1.pid") && [[ -n $started && $(started_at "$pid") == "$started" ]]
}

start() { # server
  local log=$dir/log/$1.log
  [[ ! -e $log ]] || mv "$log" "$log.previous"
  rm -f "$dir/state/$1.pid"
  # Job control gives it a process group of its own, which Ctrl-C in a terminal does not reach.
  set -m
  (
    exec </dev/null >"$log" 2>&1 {directory_lock}>&- {ports_lock}>&-
    trap - EXIT
    # Inside $(…) BASHPID is another process.
    local pid=$BASHPID
    remember "$1.pid" "$pid $(started_at "$pid")"
    of_kind serve "$1"
  ) &
  disown
  set +m
}

# The last act of `serve`: the subshell becomes the server.
become() { # program, arguments…
  cd /
  exec "$@"
}

await_ready() { # servers…
  local begun server waiting=("$@") still said=0 elapsed
  begun=$(now)
  while ((${#waiting[@]})); do
    still=()
    for server in "${waiting[@]}"; do
      if of_kind ready "$server"; then
        say "$server is ready after $(seconds_since "$begun")"
      elif [[ -s $dir/state/$server.pid ]] && ! is_running "$server"; then
        give_up "$server" "ended while starting"
      else
        still+=("$server")
      fi
    done
    waiting=("${still[@]}")
    elapsed=$((($(now) - begun) / 1000000))
    if ((${#waiting[@]} && elapsed >= WAIT_LIMIT)); then
      give_up "${waiting[0]}" "is not ready after $WAIT_LIMIT s"
    fi
    if ((${#waiting[@]} && elapsed >= said + 5)); then
      said=$elapsed
      say "waiting for ${waiting[*]} ($elapsed s)"
    fi
    ((${#waiting[@]} == 0)) || sleep 0.1
  done
}

# To its group, because one that still prepares itself has children.
signal() { # signal, server
  kill -s "$1" -- "-$(pid_of "$2")" 2>/dev/null || true
}

give_up() { # server, what happened
  say "$1 $2; the end of $dir/log/$1.log:"
  # Frames of Java's stack traces would push out the lines that name the causes.
  grep -v '^[[:space:]]at ' "$dir/log/$1.log" | tail -n "$LOG_LINES" >&2 || true
  exit "$UNAVAILABLE"
}

stop() { # servers…
  local begun server waiting=() still
  begun=$(now)
  for server in "$@"; do
    if is_running "$server"; then
      signal "$(of_kind stop_signal "$server")" "$server"
      waiting+=("$server")
    fi
  done
  while ((${#waiting[@]})); do
    still=()
    for server in "${waiting[@]}"; do ! is_running "$server" || still+=("$server"); done
    waiting=("${still[@]}")
    if ((${#waiting[@]} && $(now) - begun > STOP_LIMIT * 1000000)); then
      say "${waiting[*]}: not stopped in $STOP_LIMIT s, killed"
      for server in "${waiting[@]}"; do signal KILL "$server"; done
      begun=$(now)
    fi
    ((${#waiting[@]} == 0)) || sleep 0.1
  done
  for server in "$@"; do rm -f "$dir/state/$server.pid"; done
}
