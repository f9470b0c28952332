#!/bin/sh
# Prints how many arm64 instructions the benchmarks of a frame of 1920x1080 take, in
# plain Go and in NEON: the instructions of 9 frames less those of 1, by 8. qemu says
# nothing of time.
set -e
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
${CC:-cc} -shared -fPIC -o "$dir/count.so" test/arm64/count.c

# instructions PROGRAM BENCHMARK FRAMES
instructions() {
	GOMAXPROCS=1 GOGC=off qemu-aarch64 -plugin "file=$dir/count.so" "$1" -test.run '^$' -test.bench "$2" -test.benchtime "$3x" 2>&1 |
		sed -n 's/^instructions //p'
}

for what in quality:Score pdq:Sum phash:Sum; do
	package=${what%%:*} bench=${what##*:}
	GOARCH=arm64 CGO_ENABLED=0 ${GO:-go} test -c -o "$dir/$package" "./capture/$package"
	for level in go neon; do
		one=$(instructions "$dir/$package" "^Benchmark$bench\$/^1920x1080\$/^$level\$" 1)
		nine=$(instructions "$dir/$package" "^Benchmark$bench\$/^1920x1080\$/^$level\$" 9)
		awk -v p="$package" -v l="$level" -v n="$((nine - one))" 'BEGIN { printf "%-8s %-5s %7.2f million instructions a frame\n", p, l, n / 8e6 }'
	done
done
