#!/bin/bash
#SBATCH --job-name=curate
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
# Ray on the nodes of a Slurm job, and `curate run` on the first of them: sbatch --nodes N slurm.sh RECIPE [OPTIONS OF curate run]
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: sbatch --nodes N $0 RECIPE [OPTIONS OF curate run]" >&2; exit 2; }

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=${CURATE_RAY_PORT:-6379}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export RAY_USAGE_STATS_ENABLED=0
cores=${SLURM_CPUS_ON_NODE:-$(nproc)}
cards=${SLURM_GPUS_ON_NODE:-0}

srun --nodes=1 --ntasks=1 --nodelist="$head" ray start --block --head --node-ip-address="$address" --port="$port" \
  --num-cpus="$cores" --num-gpus="$cards" --include-dashboard=false &
sleep "${CURATE_RAY_WAIT:-15}"
if [ "${#nodes[@]}" -gt 1 ]; then
  srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" ray start --block \
    --address="$address:$port" --num-cpus="$cores" --num-gpus="$cards" &
  sleep "${CURATE_RAY_WAIT:-15}"
fi
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" curate run "$@" --address "$address:$port"
