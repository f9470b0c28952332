package wheelbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var small = Config{Tasks: 3000, Rate: 2000, For: 3 * time.Second}

// measured runs all parts in virtual time.
func measured(t *testing.T, k Kind, c Config) (f Figures, parts int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if err := Measure(t.Context(), k, c, func(now Figures) { f = now; parts++ }); err != nil {
			t.Fatal(err)
		}
	})
	return f, parts
}

// near allows for the fires at the very edges of the window.
func near(got, want float64) bool { return got > want-3 && got < want+3 }

// TestOwn: in virtual time the wheel is exactly on time, at the rate.
func TestOwn(t *testing.T) {
	f, parts := measured(t, Own(), small)
	if parts != 5 || len(f.Notes) > 0 {
		t.Errorf("%d parts, notes %q", parts, f.Notes)
	}
	if f.DelayMS == nil || *f.DelayMS != (Delay{}) || f.FiresPerS == nil || !near(*f.FiresPerS, 2000) || f.Early == nil || *f.Early != 0 {
		b, _ := json.Marshal(f)
		t.Errorf("figures %s", b)
	}
	if f.HerdDrainMS == nil || *f.HerdDrainMS != 0 {
		t.Errorf("herd drained in %v", f.HerdDrainMS)
	}
	for name, v := range map[string]*float64{
		"bytes": f.BytesPerTask, "heap": f.HeapMB, "add": f.AddNS, "cancel": f.CancelNS, "gc": f.GCCPUMS, "cpu": f.CPUShare,
		"fires per core": f.FiresPerSCore, "simulated": f.SimFiresPerSCore,
	} {
		if v == nil || *v <= 0 {
			t.Errorf("%s is missing or not positive", name)
		}
	}
}

// faulty is a subject of goroutines that does one thing wrong.
type faulty struct {
	env   Env
	shift time.Duration // of each fire
	mute  bool          // fires nothing
	stuck bool          // cancels nothing

	mu    sync.Mutex
	stops map[uint32]chan struct{}
	wg    sync.WaitGroup
}

func (s *faulty) Add(key uint32, at int64) {
	stop := make(chan struct{})
	s.mu.Lock()
	s.stops[key] = stop
	s.mu.Unlock()
	s.wg.Go(func() {
		for at >= 0 {
			timer := time.NewTimer(s.env.Clock.Until(at) + s.shift)
			select {
			case <-timer.C:
			case <-stop:
				timer.Stop()
				return
			}
			if s.mute {
				return
			}
			at = s.env.Fire(key, at)
		}
	})
}

func (s *faulty) Cancel(key uint32) bool { return s.stop(key) && !s.stuck }

func (s *faulty) stop(key uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop, ok := s.stops[key]
	if ok {
		close(stop)
		delete(s.stops, key)
	}
	return ok
}

func (s *faulty) Close() {
	for key := range uint32(s.env.Tasks) {
		s.stop(key)
	}
	s.wg.Wait()
}

func faultyKind(f *faulty) Kind {
	return Kind{Name: "faulty", New: func(e Env) Subject {
		return &faulty{env: e, shift: f.shift, mute: f.mute, stuck: f.stuck, stops: map[uint32]chan struct{}{}}
	}}
}

// TestFaultsShow: what a subject does wrong is seen in its figures.
func TestFaultsShow(t *testing.T) {
	c := Config{Tasks: 100, Rate: 100, For: 2 * time.Second}
	f, _ := measured(t, faultyKind(&faulty{shift: 7 * time.Millisecond}), c)
	if d := f.DelayMS; d == nil || *d != (Delay{7, 7, 7, 7}) || *f.HerdDrainMS != 7 || *f.Early != 0 || !near(*f.FiresPerS, 100) {
		t.Errorf("7 ms late: %+v, herd %v, early %v, fires %v", d, *f.HerdDrainMS, *f.Early, *f.FiresPerS)
	}
	if f.SimFiresPerSCore != nil || f.StallMS != nil {
		t.Error("what cannot be stepped has simulated figures")
	}
	f, _ = measured(t, faultyKind(&faulty{shift: -time.Microsecond}), c)
	if *f.Early < 190 || f.DelayMS.Max != 0 {
		t.Errorf("1 µs early: %v early fires, delay %+v", *f.Early, f.DelayMS)
	}
	f, _ = measured(t, faultyKind(&faulty{mute: true}), c)
	if f.DelayMS != nil || f.FiresPerSCore != nil || f.HerdDrainMS != nil || len(f.Notes) != 3 {
		t.Errorf("nothing fires: %+v", f)
	}
	f, _ = measured(t, faultyKind(&faulty{stuck: true}), c)
	if !slices.Contains(f.Notes, "100 of 100 tasks could not be cancelled") {
		t.Errorf("nothing can be cancelled: notes %q", f.Notes)
	}
}

func TestDelays(t *testing.T) {
	d := new(delays)
	for us := range 100_000 {
		d.add(time.Duration(us+1) * time.Microsecond)
	}
	for _, q := range []float64{0.5, 0.99, 0.999} {
		if got, want := d.quantile(q), q*100; got < want || got > want*1.017 {
			t.Errorf("quantile %v = %v ms, want %v and at most 1.6 %% more", q, got, want)
		}
	}
	if d.maximum() != 100 || d.quantile(1) != 100 {
		t.Errorf("maximum %v, quantile 1 %v", d.maximum(), d.quantile(1))
	}
	for _, us := range []int64{0, 1, 63, 64, 127, 128, 129, 1 << 20, 1<<20 + 12345, 1 << 30} {
		if i := bucket(us); upper(i) < us || i > 0 && upper(i-1) >= us {
			t.Errorf("%d µs in bucket %d: %d to %d", us, i, upper(i-1)+1, upper(i))
		}
	}
}

func TestMedian(t *testing.T) {
	m := Median([]Figures{
		{AddNS: new(3.0), Early: new(1.0), DelayMS: &Delay{P50: 5, Max: 1}, Notes: []string{"a"}},
		{AddNS: new(100.0), Early: new(0.0), DelayMS: &Delay{P50: 1, Max: 9}, Notes: []string{"a", "b"}},
		{AddNS: new(4.0), Early: new(2.0), HeapMB: new(7.0)},
	})
	if *m.AddNS != 4 || *m.Early != 3 || *m.HeapMB != 7 || *m.DelayMS != (Delay{P50: 3, Max: 5}) || m.CancelNS != nil || !slices.Equal(m.Notes, []string{"a", "b"}) {
		b, _ := json.Marshal(m)
		t.Errorf("median %s", b)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{Tasks: 0, Rate: 1, For: time.Second}, "0 tasks"},
		{Config{Tasks: MaxTasks + 1, Rate: 1e6, For: time.Second}, "want 1 to 100000000"},
		{Config{Tasks: 1, Rate: 0, For: time.Second}, "0 fires"},
		{Config{Tasks: 1e6, Rate: 1, For: time.Second}, "want at most 1h0m0s"},
		{Config{Tasks: 1, Rate: 1, For: time.Millisecond}, "live part"},
	} {
		if err := c.c.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.c, err, c.want)
		}
	}
}

func TestServe(t *testing.T) {
	var out bytes.Buffer
	if err := Serve(t.Context(), []Kind{Own()}, nil, nil, &out); err != nil || out.String() != "[\"shutterfleet\"]\n" {
		t.Errorf("names: %q, %v", out.String(), err)
	}
	if err := Serve(t.Context(), []Kind{Own()}, []string{"other"}, nil, &out); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("a kind that is not there: %v", err)
	}
	if err := Serve(t.Context(), []Kind{Own()}, []string{"shutterfleet"}, strings.NewReader("{"), &out); err == nil || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("half a configuration: %v", err)
	}
	in, _ := json.Marshal(small)
	out.Reset()
	synctest.Test(t, func(t *testing.T) {
		if err := Serve(t.Context(), []Kind{Own()}, []string{"shutterfleet"}, bytes.NewReader(in), &out); err != nil {
			t.Error(err)
		}
	})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var f Figures
	if len(lines) != 5 || json.Unmarshal([]byte(lines[4]), &f) != nil || f.HerdDrainMS == nil {
		t.Errorf("%d lines, the last %s", len(lines), lines[len(lines)-1])
	}
}

// script is a program for Run that does as told.
func script(t *testing.T, body string) Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return Program{Path: path}
}

// TestRun: what a process said before it hung, failed or talked of other
// things is kept, with a note.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		body, note string
		silence    time.Duration // to begin with
	}{
		{`cat >/dev/null; echo '{"add_ns":5}'; echo 'time has been called back?'; echo '{"add_ns":5,"heap_mb":2}'`, "", time.Minute},
		{`echo '{"add_ns":5,"heap_mb":2}'; exec sleep 1000`, "it hung after 1 parts and was killed", 200 * time.Millisecond},
		{`echo '{"add_ns":5,"heap_mb":2}'; echo 'panic: no head' >&2; echo 'goroutine 1' >&2; exit 2`, "it failed after 1 parts: exit status 2: panic: no head", time.Minute},
	} {
		p := script(t, c.body)
		f, err := p.run(t.Context(), "x", small, c.silence)
		for silence := 2 * c.silence; err == nil && f.AddNS == nil && silence <= time.Minute; silence *= 2 { // a busy machine had not even begun
			f, err = p.run(t.Context(), "x", small, silence)
		}
		if err != nil || f.AddNS == nil || *f.AddNS != 5 || f.HeapMB == nil || *f.HeapMB != 2 || strings.Join(f.Notes, "") != c.note {
			t.Errorf("%s: %+v, %v", c.body, f, err)
		}
	}
	if _, err := (Program{Path: "/nonexistent"}).Run(t.Context(), "x", small); err == nil {
		t.Error("a program that is not there runs")
	}
	p := script(t, `printf '["a","%s"]' "$1"`)
	p.Args = []string{"b"}
	if names, err := p.Kinds(t.Context()); err != nil || fmt.Sprint(names) != "[a b]" {
		t.Errorf("kinds %v, %v", names, err)
	}
	if _, err := script(t, `echo no`).Kinds(t.Context()); err == nil {
		t.Error("a list of kinds that is none")
	}
}
