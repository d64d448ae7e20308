#!/usr/bin/env bash
# Evaluates a config with several processes, on one machine or many:
#
#   ./dist_test.sh CONFIG [GPUS] [arguments of eval.py]     ./dist_test.sh configs/cfg_loveda.py 4 --data-root ~/data
#   ./dist_test.sh all [GPUS] [arguments of eval_all.py]    ./dist_test.sh all 4 --datasets loveda udd5
#
# GPUS: processes on this machine; else the variable GPUS, else the GPUs that torch sees, else 1. Without GPUs they
# run on the CPU. Variables: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500; alone on one machine: a
# free one), WORK_DIR (folder for results), PYTHON (python).
set -euo pipefail

if [[ $# -lt 1 || $1 == -* ]]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
config=$1
shift
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    GPUS=$1
    shift
fi
python=${PYTHON:-python}
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
gpus=${GPUS:-$("$python" -c 'import torch; print(max(1, torch.cuda.device_count()))')}
if [[ ! $gpus =~ ^[1-9][0-9]*$ ]]; then
    echo "error: GPUS is '$gpus': expected a number of processes, at least 1; give it after the config" >&2
    exit 2
fi
nodes=${NNODES:-1}
if [[ ! $nodes =~ ^[1-9][0-9]*$ || ! ${NODE_RANK:-0} =~ ^[0-9]+$ || ${NODE_RANK:-0} -ge $nodes ||
    ! ${PORT:-29500} =~ ^[1-9][0-9]{0,4}$ || ${PORT:-29500} -gt 65535 ]]; then
    echo "error: NNODES is '$nodes', NODE_RANK '${NODE_RANK:-0}', PORT '${PORT:-29500}': expected a number of machines," \
        "this one's number from 0 to NNODES - 1, and a port from 1 to 65535" >&2
    exit 2
fi
if [[ $nodes == 1 && -z ${PORT:-} ]]; then
    place=(--standalone)
else
    place=(--nnodes "$nodes" --node-rank "${NODE_RANK:-0}" --master-addr "${MASTER_ADDR:-127.0.0.1}"
        --master-port "${PORT:-29500}" --rdzv-conf timeout=60)
fi
cores=$("$python" -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > gpus ? cores / gpus : 1))}
if [[ $config == all ]]; then
    program=("$here/eval_all.py")
else
    program=("$here/eval.py" --config "$config")
fi
exec "$python" -m segearth.distributed.torchrun "${place[@]}" --nproc-per-node "$gpus" \
    "${program[@]}" --launcher pytorch ${WORK_DIR:+--work-dir "$WORK_DIR"} "$@"
