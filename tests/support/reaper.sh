# Ends what a test process started, when that process has ended without doing so (killed, or statics never dropped).
# Reads lines p+PID, p-PID, d+FOLDER, d-FOLDER; at the end of input kills the processes and removes the folders left.
set -f
IFS='
'
pids= dirs=
less() { kept=; for x in $1; do [ "$x" = "$2" ] || kept="$kept$x$IFS"; done; }
while read -r line; do
  arg=${line#??}
  case $line in
    p+*) pids="$pids$arg$IFS" ;;
    p-*) less "$pids" "$arg"; pids=$kept ;;
    d+*) dirs="$dirs$arg$IFS" ;;
    d-*) less "$dirs" "$arg"; dirs=$kept ;;
  esac
done
for p in $pids; do kill -9 "$p" 2>/dev/null; done
for try in 1 2 3; do
  for d in $dirs; do case $d in */sealtrail-*) rm -rf -- "$d" 2>/dev/null ;; esac; done
  sleep 0.2
done
