package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"
)

// envProgram makes the test binary be the program: benches run it again.
const envProgram = "SHUTTERFLEET_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// benchFleet runs `bench fleet` and returns what it printed.
func benchFleet(t *testing.T, args ...string) fleetResult {
	t.Helper()
	t.Setenv(envProgram, "yes")
	var out, progress bytes.Buffer
	code := run(t.Context(), slices.Concat([]string{"bench", "fleet", "-o", "json"}, args), &out, &progress)
	var res fleetResult
	if err := json.Unmarshal(out.Bytes(), &res); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.Bytes(), progress.Bytes())
	}
	return res
}

// checkFleet wants every occurrence captured, in time or not, and seen by the
// bench's own measurements.
func checkFleet(t *testing.T, res fleetResult, least uint64) {
	t.Helper()
	switch {
	case res.Unaccounted != 0 || !res.Balanced() || res.InFlight != 0 || res.Issued != uint64(res.Expected):
		t.Errorf("the books do not agree: %+v, expected %d, unaccounted %d", res.Books, res.Expected, res.Unaccounted)
	case res.Issued < least || res.Captured+res.Missed != res.Issued:
		t.Errorf("want at least %d occurrences, captured or missed: %+v", least, res.Books)
	case res.Captured == 0 || res.DelayMS.N == 0 || res.DelayMS.N > res.Issued || res.AckMS.N == 0 || res.HistoryIdleMS.N == 0:
		t.Errorf("nothing was measured: %+v", res)
	case res.CapturedS <= 0 || res.CPUMicros <= 0 || res.RSSMB <= 0 || res.DiskBytes <= 0 || res.StartS <= 0:
		t.Errorf("a figure is missing: %+v", res)
	}
}

// TestBenchFleetBalances runs a small fleet in real processes: the books, the
// calendar and the audit agree.
func TestBenchFleetBalances(t *testing.T) {
	res := benchFleet(t, "--cameras", "200", "--agents", "2", "--interval", "2s", "--for", "3s", "--lead", "4s")
	checkFleet(t, res, 600)
	if res.Sites != 2 || res.Cameras != 200 || res.Duplicates != 0 {
		t.Errorf("%+v", res)
	}
}

// TestBenchFleetShared has several agents at one site.
func TestBenchFleetShared(t *testing.T) {
	res := benchFleet(t, "--cameras", "60", "--agents", "3", "--sites", "1", "--interval", "1s", "--for", "2s", "--lead", "4s", "--trusting")
	checkFleet(t, res, 300)
}

func TestBenchFleetUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--cameras", "0"}, {"--agents", "0"}, {"--agents", "2", "--sites", "3"}, {"--interval", "-1s"}, {"--for", "0s"}, {"-o", "yaml"}, {"--peak", "--data", "x"}, {"what"},
	} {
		var out, progress bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "fleet"}, args...), &out, &progress); code != 2 {
			t.Errorf("%q: exit code %d, want 2: %s", args, code, progress.Bytes())
		}
	}
}

// TestBenchFleetInterrupted ends a run early: both processes end, the
// directory is removed, and the exit code says that nothing was measured.
func TestBenchFleetInterrupted(t *testing.T) {
	t.Setenv(envProgram, "yes")
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	progress := &lineReader{line: func(line []byte) {
		if bytes.HasPrefix(line, []byte("seeded")) {
			cancel()
		}
	}}
	began := time.Now()
	if code := run(ctx, []string{"bench", "fleet", "--cameras", "20", "--agents", "2", "--interval", "1s", "--for", "10m"}, &out, progress); code != 1 {
		t.Errorf("exit code %d, want 1: %s", code, out.Bytes())
	}
	if took := time.Since(began); took > 5*time.Minute { // of the ten that it was to run
		t.Errorf("it took %v to end", took)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLineReader(t *testing.T) {
	var got []string
	r := &lineReader{line: func(b []byte) { got = append(got, string(b)) }}
	for _, part := range []string{"one\ntw", "o", "\n\nth", "ree\nrest"} {
		if n, err := r.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", part, n, err)
		}
	}
	if want := []string{"one", "two", "", "three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBenchTransport runs both lines for a moment and weighs a few idle agents.
func TestBenchTransport(t *testing.T) {
	t.Setenv(envProgram, "yes")
	var out, progress bytes.Buffer
	code := run(t.Context(), []string{"bench", "transport", "-o", "json", "--rounds", "2", "--slice", "50ms", "--idle", "20", "--settle", "100ms"}, &out, &progress)
	var res transportResult
	if err := json.Unmarshal(out.Bytes(), &res); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.Bytes(), progress.Bytes())
	}
	if res.Ratio <= 0 || res.Ours.CapturesPerCore <= 0 || res.Raw.CapturesPerCore <= 0 || res.BatchRecords != 64 || res.Idle == nil || res.Idle.Agents != 20 || res.Idle.RSSMB <= 0 {
		t.Errorf("%+v, %+v", res, res.Idle)
	}
}
