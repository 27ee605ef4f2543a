#!/usr/bin/env bash
# A real Slurm with one node on loopback, for tests: no systemd, no cgroups, no accounting.
#
#   export SLURM_CONF=$(.ci/slurm.sh)           # start (installs Debian's packages when missing)
#   export SLURM_CONF=$(.ci/slurm.sh start DIR) # the same with its state in DIR (new or empty)
#   .ci/slurm.sh stop [DIR]                     # end it and delete its state
#
# Stdout is the path of slurm.conf and nothing else; what happens and why it failed is on stderr.
# Starting twice without DIR gives the one that runs. Needs root: Slurm changes the owner of each job's process.
# Exit code 0: sinfo shows the node idle; 1: Slurm cannot be had here, with the reason.
set -euo pipefail

POINTER="${TMPDIR:-/tmp}/corroborate-slurm-$(id -u).conf-path"  # where the running one's path is kept
START_SECONDS=60  # until the node must be idle

say() { echo "slurm.sh: $*" >&2; }

fail() {
    say "cannot start Slurm: $*"
    exit 1
}

missing_programs() {
    local program
    for program in slurmctld slurmd munged sbatch srun squeue scontrol sinfo; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || echo "$program"
    done
}

install_packages() {
    [ -z "$(missing_programs)" ] && return
    command -v apt-get >/dev/null || fail "$(missing_programs | tr '\n' ' ')missing, and no apt-get."
    say "installing slurm-wlm and munge"
    local log
    log=$(mktemp)
    # RUNLEVEL=1: the packages start no daemons of their own; ours come further down.
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends slurm-wlm munge; } >"$log" 2>&1 </dev/null; then
        tail -n 5 "$log" >&2
        fail "apt-get could not install slurm-wlm and munge (its last lines are above; all: $log)."
    fi
    rm -f "$log"
    [ -z "$(missing_programs)" ] || fail "the packages lack $(missing_programs | tr '\n' ' ')."
}

# Prints a port that nothing listens on.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# Writes slurm.conf and what belongs to it into $1.
write_configuration() {
    local dir=$1 host controller_port node_port version
    host=$(hostname -s 2>/dev/null || hostname)
    controller_port=$(free_port)
    node_port=$(free_port)
    while [ "$node_port" = "$controller_port" ]; do node_port=$(free_port); done
    cat >"$dir/slurm.conf" <<CONF
ClusterName=corroborate
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
CompleteWait=0
MaxArraySize=1001
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=debug Nodes=node1 Default=YES MaxTime=60 State=UP
CONF
    # From version 23 on slurmd looks for cgroups unless told not to.
    version=$(PATH="$PATH:/usr/sbin" slurmctld -V | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    [ "$version" -lt 23 ] || echo "CgroupPlugin=disabled" >"$dir/cgroup.conf"
}

# Why a daemon did not come up: the last errors of its log.
reason_of() { grep -iE "error|fatal" "$1" 2>/dev/null | tail -n 3 >&2 || tail -n 3 "$1" >&2 || true; }

start_daemons() {
    local dir=$1
    export SLURM_CONF="$dir/slurm.conf" PATH="$PATH:/usr/sbin:/sbin"
    mkdir -p "$dir/munge" "$dir/state" "$dir/spool"
    chmod 755 "$dir" "$dir/munge"
    head -c 128 /dev/urandom >"$dir/munge/key"
    chmod 600 "$dir/munge/key"
    # --force: the state may lie below a directory that others may write, such as /tmp.
    munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
        --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" \
        >"$dir/munge/start" 2>&1 || { cat "$dir/munge/start" >&2; fail "munged ended at once."; }
    slurmctld -f "$SLURM_CONF" >"$dir/start.log" 2>&1 ||
        { cat "$dir/start.log" >&2; fail "slurmctld ended at once."; }
    slurmd -f "$SLURM_CONF" >>"$dir/start.log" 2>&1 ||
        { cat "$dir/start.log" >&2; fail "slurmd ended at once."; }
}

node_state() { timeout 5 env SLURM_CONF="$1" sinfo --noheader --format=%T 2>/dev/null || true; }

wait_until_idle() {
    local dir=$1 deadline=$((SECONDS + START_SECONDS)) state=""
    while [ $SECONDS -lt $deadline ]; do
        state=$(node_state "$dir/slurm.conf")
        [ "$state" = idle ] && return
        sleep 0.3
    done
    reason_of "$dir/slurmctld.log"
    reason_of "$dir/slurmd.log"
    stop_daemons "$dir"
    fail "after $START_SECONDS s the node is ${state:-unknown}, not idle (logs: $dir/*.log)."
}

# Ends the daemons whose pid files are in $1 (and the job steps still running below slurmd).
stop_daemons() {
    local dir=$1 file pid _
    if [ -e "$dir/slurm.conf" ]; then
        SLURM_CONF="$dir/slurm.conf" timeout 5 scancel --state=running --state=pending \
            --user=root 2>/dev/null || true
    fi
    for file in "$dir/slurmd.pid" "$dir/slurmctld.pid" "$dir/munge/pid"; do
        pid=$(cat "$file" 2>/dev/null) || continue
        # A pid file may outlive its daemon: only a process of this name is ended.
        grep -qE '^(slurmd|slurmctld|munged)$' "/proc/$pid/comm" 2>/dev/null || continue
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

running_conf() {
    local conf
    conf=$(cat "$POINTER" 2>/dev/null) || return 1
    [ -O "$conf" ] && [ -n "$(node_state "$conf")" ] && echo "$conf"
}

start() {
    local named=${1:-} conf
    local dir=$named
    if [ -z "$dir" ] && conf=$(running_conf); then
        say "already running"
        echo "$conf"
        return
    fi
    [ "$(id -u)" = 0 ] || fail "only root can install and start it."
    install_packages
    if [ -z "$dir" ]; then
        dir=$(mktemp -d "${TMPDIR:-/tmp}/corroborate-slurm.XXXXXX")
    else
        mkdir -p "$dir"
        dir=$(cd "$dir" && pwd)
        [ -z "$(ls -A "$dir")" ] || fail "$dir is not empty."
    fi
    write_configuration "$dir"
    start_daemons "$dir"
    wait_until_idle "$dir"
    [ -n "$named" ] || echo "$dir/slurm.conf" >"$POINTER"
    say "Slurm $(sinfo --version | cut -d' ' -f2) runs: partition debug, 2 CPUs, state in $dir"
    echo "$dir/slurm.conf"
}

stop() {
    local dir=${1:-}
    [ -n "$dir" ] || dir=$(dirname "$(cat "$POINTER" 2>/dev/null)" 2>/dev/null) || true
    if ! grep -qs '^ClusterName=corroborate$' "$dir/slurm.conf"; then
        say "nothing to stop"
        return
    fi
    stop_daemons "$dir"
    [ "$(cat "$POINTER" 2>/dev/null)" != "$dir/slurm.conf" ] || rm -f "$POINTER"
    rm -rf "$dir"
    say "stopped"
}

case "${1:-start}" in
    start) start "${2:-}" ;;
    stop) stop "${2:-}" ;;
    *)
        say "usage: .ci/slurm.sh [start [DIR] | stop [DIR]]"
        exit 2
        ;;
esac
