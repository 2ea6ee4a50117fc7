# shellcheck shell=bash
# Messages, exit codes, time, and the small values that a stack remembers between two commands.

# The exit codes of the services (plumbing::exit).
readonly USAGE=64 UNAVAILABLE=69 CANNOT_CREATE=73 TRY_AGAIN=75

say() { echo "stack: $*" >&2; }

fail() { # exit code, message
  local code=$1
  shift
  say "$@"
  exit "$code"
}

now() { echo "${EPOCHREALTIME/./}"; }

seconds_since() { # an earlier `now`
  local tenths=$(((${EPOCHREALTIME/./} - $1) / 100000))
  echo "$((tenths / 10)).$((tenths % 10)) s"
}

joined() { # words, into one word with commas
  local IFS=,
  echo "$*"
}

remember() { # key, value
  printf '%s\n' "$2" >"$dir/state/$1.new"
  mv "$dir/state/$1.new" "$dir/state/$1"
}

recall() { # key; fails if nothing is remembered
  cat "$dir/state/$1" 2>/dev/null
}
