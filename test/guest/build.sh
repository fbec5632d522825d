#!/usr/bin/env bash
# Rebuilds the guest fixtures from src/*.c into bin/. Needs a riscv64 cross compiler (CC names another one);
# the binaries are committed, so that the tests need none.
set -euo pipefail
cd "$(dirname "$0")"
cc=${CC:-riscv64-linux-gnu-gcc}
mkdir -p bin
for source in src/*.c; do
  "$cc" -O2 -march=rv64gc -mabi=lp64d -static -nostdlib -ffreestanding -fno-asynchronous-unwind-tables \
    -fno-stack-protector -fno-tree-loop-distribute-patterns -fno-strict-aliasing -fno-pic -no-pie -w -s \
    -Wl,-T,src/guest.ld -Wl,--build-id=none -o "bin/$(basename "$source" .c)" "$source"
done
