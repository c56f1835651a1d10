//! T31: the pids of a container that was lost are other processes' by now. They are left alone.

use crate::aftermath::{gone, with_busybox};
use crate::harness::{Live, Run};

/// In a pid namespace of its own the next pid can be chosen. Arguments: the program and the verb, then the words that
/// start a process as the user.
const SCRIPT: &str = r#"
set -eu
pybox=$1 verb=$2 image=$3
shift 3
as_user() { setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"; }
number() { sed -n "s/.*\"$1\":{\"pid\":\([0-9]*\).*/\1/p" "$PYBOX_ROOT"/containers/*/run.json; }
as_user "$pybox" run -d --name victim "$image" sleep 3000 >/dev/null
init=$(number init) monitor=$(number monitor)
kill -9 "$monitor" "$init"
while kill -0 "$init" 2>/dev/null || kill -0 "$monitor" 2>/dev/null; do
  # Orphans are ours here, as the first process.
  wait -n 2>/dev/null || :
  sleep 0.02
done
for pid in "$init" "$monitor"; do
  innocent=
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
    setpriv --reuid "$uid" --regid "$gid" --clear-groups sleep 4000 &
    innocent=$!
    [ "$innocent" = "$pid" ] && break
    kill -9 "$innocent"
  done
  [ "$innocent" = "$pid" ] || { echo "pid $pid cannot be had" >&2; exit 9; }
done
as_user "$pybox" $verb >/tmp/said.$$ 2>&1 && code=0 || code=$?
echo "$verb: $code $(cat /tmp/said.$$)"
rm -f /tmp/said.$$
as_user "$pybox" ps -a --format '{{.Names}} {{.State}}'
as_user "$pybox" rm -f victim >/dev/null 2>&1 || :
for pid in "$init" "$monitor"; do
  [ "$(tr '\0' ' ' </proc/$pid/cmdline)" = "sleep 4000 " ] || { echo "process $pid is gone" >&2; exit 8; }
done
as_user "$pybox" ps -aq
echo survived
"#;

#[test]
fn innocent_processes_survive() {
    let Some(live) = Live::new() else { return };
    if !live.user.judged_by_root() {
        crate::fixture::skip("only root can choose the next pid of a pid namespace");
        return;
    }
    let image = with_busybox(&live);
    for verb in [
        "stop -t 1 victim",
        "kill victim",
        "rm -f victim",
        "restart -t 1 victim",
        "exec victim true",
        "pause victim",
        "ps -a",
    ] {
        let mut command = live.privileged("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", SCRIPT, "bash"]);
        command.arg(live.program()).arg(verb).arg(&image);
        command.env("uid", live.user.uid.to_string()).env("gid", live.user.gid.to_string());
        let end = Run::of(command).within(40).run().exits(0);
        assert!(end.text().ends_with("survived"), "{end}");
        gone(&live, verb);
    }
}
