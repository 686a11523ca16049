"""The script for Slurm, with stand-ins for Slurm's commands that write down what they are asked."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs/cluster/slurm.sh"
COMMANDS = {
    "scontrol": 'printf "n1\\nn2\\nn3\\n"',
    "srun": 'case "$*" in *hostname*) echo "10.0.0.1 fe80::1";; *) echo "$* token=$RAY_AUTH_TOKEN" >> "$LOG";; esac',
}


@pytest.fixture
def slurm(tmp_path):
    for name, body in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"

    def start(*words, **more):
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "LOG": str(log),
            "SLURM_JOB_NODELIST": "n[1-3]",
            "CURATE_RAY_WAIT": "0.3",
        }
        done = subprocess.run(
            ["bash", str(SCRIPT), *words], env=environment | more, capture_output=True, text=True, check=False
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return start


def test_a_head_then_the_others_then_the_driver_on_the_head(slurm):
    done, lines = slurm("clip_score_top30", "--pairs", "a b.parquet", SLURM_CPUS_ON_NODE="8", SLURM_GPUS_ON_NODE="2")
    assert done.returncode == 0, done.stderr
    head, others, driver = lines
    assert (
        "--nodelist=n1" in head
        and "ray start --block --head --node-ip-address=10.0.0.1 --port=6379 --num-cpus=8 --num-gpus=2" in head
    )
    assert "--nodes=2 --ntasks=2 --exclude=n1" in others and "--address=10.0.0.1:6379" in others
    assert "curate run clip_score_top30 --pairs a b.parquet --address 10.0.0.1:6379" in driver and "--overlap" in driver
    tokens = {line.rpartition("token=")[2] for line in lines}
    assert len(tokens) == 1 and len(tokens.pop()) == 64


def test_without_a_recipe_it_says_how_it_is_used(slurm):
    done, lines = slurm()
    assert done.returncode == 2 and "usage: sbatch" in done.stderr and lines == []
