package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/scheduler/wheel/wheelbench"
)

// TestWheelMeasureProcess is not a test of its own: the bench's test starts
// this program again with measureEnv set, as `bench wheel measure`.
func TestWheelMeasureProcess(t *testing.T) {
	args, ok := os.LookupEnv(measureEnv)
	if !ok {
		return
	}
	os.Exit(run(t.Context(), strings.Fields(args+" "+os.Args[len(os.Args)-1]), os.Stdout, os.Stderr))
}

const measureEnv = "SHUTTERFLEET_TEST_MEASURE"

// TestBenchWheel runs one short round in a process of its own, beside peers
// that answer from a script.
func TestBenchWheel(t *testing.T) {
	t.Setenv(measureEnv, "bench wheel measure")
	dir := t.TempDir()
	peer := `#!/bin/sh
case "$1" in
"") echo '["stdlib","slow/timer"]' ;;
stdlib) cat >/dev/null; echo '{"add_ns":400,"delay_ms":{"p50":1,"p99":2,"p999":3,"max":4}}' ;;
*) echo '{"add_ns":9}'; echo 'fatal error: all goroutines are asleep' >&2; exit 2 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "shutterfleet-bench-wheel-peers"), []byte(peer), 0o700); err != nil {
		t.Fatal(err)
	}
	bench := func(output, peers string) (string, string, error) {
		b := benchWheel{
			d: door{output: output}, cfg: wheelbench.Config{Tasks: 2000, Rate: 1000, For: 200 * time.Millisecond}, rounds: 1, peers: peers,
			self: wheelbench.Program{Path: os.Args[0], Args: []string{"-test.run=^TestWheelMeasureProcess$"}},
		}
		var stdout, stderr bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&stdout)
		cmd.SetErr(&stderr)
		cmd.SetContext(t.Context())
		err := b.run(cmd)
		return stdout.String(), stderr.String(), err
	}

	t.Setenv("SHUTTERFLEET_BENCH_PEERS", dir)
	stdout, stderr, err := bench("json", "all")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var r wheelReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if r.Tasks != 2000 || r.BytesPerTask == nil || r.FiresPerSCore == nil || r.HerdDrainMS == nil || r.Early == nil || *r.Early != 0 || len(r.Notes) > 0 {
		t.Errorf("figures %s", stdout)
	}
	if p := r.Peers["stdlib"]; len(r.Peers) != 2 || p.AddNS == nil || *p.AddNS != 400 || p.DelayMS == nil || p.DelayMS.P999 != 3 || p.HerdDrainMS != nil {
		t.Errorf("peers %+v", r.Peers)
	}
	if p := r.Peers["slow/timer"]; p.AddNS == nil || len(p.Notes) != 1 || !strings.Contains(stderr, "all goroutines are asleep") {
		t.Errorf("a peer that failed: %+v; stderr %s", p, stderr)
	}
	for _, field := range []string{
		"bytes_per_task", "add_ns", "cancel_ns", "fires_per_s_core", "gc_cpu_ms", "delay_ms", "early_fires", "herd_drain_ms", "cpu_share",
	} {
		if !strings.Contains(stdout, `"`+field+`"`) {
			t.Errorf("no %s in %s", field, stdout)
		}
	}

	t.Setenv("SHUTTERFLEET_BENCH_PEERS", filepath.Join(dir, "none"))
	stdout, stderr, err = bench("table", "all")
	if err != nil || strings.Count(stderr, "make bench-peers") != 1 || !strings.Contains(stdout, "bytes per task") {
		t.Errorf("without peers: %v\n%s\n%s", err, stdout, stderr)
	}
	if empty, err := json.Marshal(wheelReport{Peers: map[string]wheelbench.Figures{}}); err != nil || !strings.Contains(string(empty), `"peers":{}`) {
		t.Errorf("no peers: %s, %v", empty, err)
	}

	t.Setenv("SHUTTERFLEET_BENCH_PEERS", dir)
	if _, _, err = bench("json", "other"); err == nil || !strings.Contains(err.Error(), "stdlib, slow/timer") {
		t.Errorf("a peer that is not there: %v", err)
	}
	t.Setenv(measureEnv, "bench nothing")
	if _, stderr, err = bench("json", "none"); err == nil || !strings.Contains(err.Error(), "could not be measured") {
		t.Errorf("a measurement that failed: %v; %s", err, stderr)
	}
}

func TestBenchWheelUsage(t *testing.T) {
	for _, args := range [][]string{
		{"bench"}, {"bench", "wheel", "--tasks", "0"}, {"bench", "wheel", "--rate", "0"}, {"bench", "wheel", "--for", "1ms"},
		{"bench", "wheel", "--rounds", "0"}, {"bench", "wheel", "-o", "xml"}, {"bench", "wheel", "more"}, {"bench", "wheels"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, &bytes.Buffer{}, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, stderr.String())
		}
	}
}

// TestBenchPeersModule keeps the peers out of what users get.
func TestBenchPeersModule(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{"timingwheel", "antlabs"} {
		if strings.Contains(string(out), peer) {
			t.Errorf("the module requires %s", peer)
		}
	}
}
