#!/usr/bin/env bash
# Runs a command in an environment where `--features cuda,cudnn,nccl` compiles without CUDA:
#
#     ci/cuda_shim.sh cargo clippy --workspace --features cuda,cudnn,nccl -- -D warnings
#
# For type checks only. The stand-in for nvcc leaves every kernel empty and there are no CUDA
# libraries to link with, so `cargo build` of a program, or running one, fails.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }

# candle-kernels and cudarc look for nvcc in different ways: give them all the same answer.
export NVCC="$here/cuda_shim/bin/nvcc"
export CUDA_HOME="$here/cuda_shim"
export PATH="$here/cuda_shim/bin:$PATH"
# Without a GPU nobody can be asked what it is capable of; 80 is what releases are built for.
export CUDA_COMPUTE_CAP=80
exec "$@"
