package main

import (
	"cmp"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// benchCommand holds the benches; each lives in a file of its own.
func benchCommand() *cobra.Command {
	return noun("bench", "Measure this machine against the promises",
		benchWheelCommand(), benchFleetCommand(), benchTransportCommand(), benchDiscoverCommand(), benchCaptureCommand(), benchQualityCommand(), benchSwarmCommand(),
	)
}

// benchPeers returns the program that measures a bench's peers: beside this
// one, or in the directory SHUTTERFLEET_BENCH_PEERS. It is a module of its own
// that `make bench-peers` builds. ok is false when it is not there.
func benchPeers(bench string) (path string, ok bool) {
	dir := os.Getenv("SHUTTERFLEET_BENCH_PEERS")
	if self, err := os.Executable(); err == nil {
		dir = cmp.Or(dir, filepath.Dir(self))
	}
	path = filepath.Join(dir, "shutterfleet-bench-"+bench+"-peers")
	info, err := os.Stat(path) //nolint:gosec // the operator names the directory
	return path, err == nil && info.Mode().IsRegular()
}
