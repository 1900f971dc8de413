#!/bin/bash
# What Axle's kernels do on a real GPU, in steps of at most 8 minutes, each leaving JSON:
#
#   bench/device/run.sh STEP... [--out FOLDER]     FOLDER: /tmp/axle-device unless said
#
#   1  adapter: driver, features, subgroup matrices, limits, toggles          adapter.json
#   2  kernel tests; all goldens, safe and fast toggles; exactness, short     goldens.json, exactness.json
#   3  peaks, and every kernel at A.X K1's shapes                             k1-kernels.json, roofline.json
#   4  decode of as many of A.X K1's layers as fit (AXLE_BENCH_GB); where a
#      layer's time goes, dispatch by dispatch                                k1-stack.json, layer-profile.json
#   5  axk1-tiny through the engine, and torch on the same GPU (AXLE_PYTHON)  streams.json
#   6  experts from host memory, and a layer with slots for half of them      upload.json
#   page  no measurement: writes what FOLDER holds into docs/performance.md
#
# A CPU adapter runs every step, on small shapes. Exit code 1 when a figure fell short of its goal or a step failed.
#
# A machine without network and without Node. On one that has both, and `npm ci` done, pack what the steps need:
#   cp "$(node -p process.execPath)" node
#   tar -cJf axle-device.tar.xz --transform 's,^node$,bin/node,' node node_modules/{webgpu,zod,@huggingface} $(git ls-files)
#   apt-get download libvulkan1 libegl1 libglvnd0      # where the machine has a driver but no Vulkan loader
# Of `node_modules/webgpu/dist` only the machine's own platform is needed (36 MiB with Node as .tar.xz). There:
#   tar -xJf axle-device.tar.xz; for f in *.deb; do dpkg -x $f /; done; ldconfig; export PATH=$PWD/bin:$PATH
#   export VK_DRIVER_FILES=...nvidia_icd.json          # where the loader does not find the driver by itself
# Kernel tests run by node:test where vitest is not installed (kernel-tests.ts).
set -u
cd "$(dirname "$0")/../.." || exit 2
out=/tmp/axle-device
steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out wants a folder}; shift ;;
    1 | 2 | 3 | 4 | 5 | 6 | page) steps+=("$1") ;;
    *) sed -n '2,/^set/{/^#/p}' "$0"; exit 2 ;;
  esac
  shift
done
[ ${#steps[@]} -gt 0 ] || { sed -n '2,/^set/{/^#/p}' "$0"; exit 2; }
mkdir -p "$out"
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
failed=0

# bench NAME SECONDS [OPTION...]: the table to stdout, the report to NAME.json.
bench() {
  local name=$1 seconds=$2 code
  shift 2
  echo "== $name, $(date -u +%T)"
  timeout "$seconds" node bench/main.ts "$name" --json "$@" > "$out/$name.log" 2>&1
  code=$?
  grep -v '^{' "$out/$name.log"
  grep '^{"bench"' "$out/$name.log" > "$out/$name.json" || rm -f "$out/$name.json"
  [ $code -eq 0 ] || { echo "$name: exit code $code"; failed=1; }
}

for step in "${steps[@]}"; do
  case $step in
    1) bench adapter 60 ;;
    2)
      if [ -e node_modules/.bin/vitest ]; then
        timeout 180 node_modules/.bin/vitest run test/kernels > "$out/kernel-tests.log" 2>&1 || failed=1
      else
        timeout 180 node bench/device/kernel-tests.ts > "$out/kernel-tests.log" 2>&1 || failed=1
      fi
      grep -v -i warning "$out/kernel-tests.log" | tail -n 12
      bench goldens 140
      bench exactness 160 --short
      ;;
    3) bench k1-kernels 300; bench roofline 150 ;;
    4) bench k1-stack 360; bench layer-profile 120 ;;
    5) bench streams 420 ;;
    6) bench upload 120 ;;
    page) node bench/device/write-page.ts "$out" || failed=1 ;;
  esac
done
exit $failed
