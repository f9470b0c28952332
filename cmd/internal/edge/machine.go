package edge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve answers machines until ctx is done.
func (e *Edge) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.Ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		say(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		say(w, http.StatusOK, e.metrics())
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(e.machine); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve machines: %w", err)
	}
	return nil
}

func say(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // a reader that left is no fault of ours
}

// Ready returns nil when the agent has its line and its disk, else what is
// missing.
func (e *Edge) Ready() error {
	st := e.Stats()
	switch {
	case st.StoreFault != nil:
		return fmt.Errorf("the disk refuses, free it or make it writable: %w", st.StoreFault)
	case st.Line.Connected:
		return nil
	case st.Line.Err != nil:
		return fmt.Errorf("no line to the centre: %w", st.Line.Err)
	}
	return errors.New("not connected to the centre yet")
}

// metrics writes the Prometheus text format by hand: a dozen numbers do not
// justify a library on the edge.
func (e *Edge) metrics() string {
	st := e.Stats()
	var b strings.Builder
	put := func(name, kind, help string, v float64) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %s\n", name, help, name, kind, name, strconv.FormatFloat(v, 'g', -1, 64))
	}
	put("agent_line_connected", "gauge", "1 while the stream to the centre is open.", flag(st.Line.Connected))
	put("agent_links_total", "counter", "Streams opened to the centre.", float64(st.Line.Links))
	put("agent_instructions_refused_total", "counter", "Instructions refused for signature, addressee, nonce, fence or expiry.", float64(st.Line.Refused))
	put("agent_reports_resent_total", "counter", "Reports sent again because no answer came.", float64(st.Line.Resent))
	put("agent_orders_held", "gauge", "Orders in the store without an outcome.", float64(st.OrdersHeld))
	put("agent_orders_capturing", "gauge", "Orders being captured.", float64(st.Capturing))
	put("agent_outbox_pending", "gauge", "Outcomes the centre has not stored.", float64(st.OutboxPending))
	put("agent_store_failing", "gauge", "1 while the disk refuses.", flag(st.StoreFault != nil))
	put("agent_clock_bound_seconds", "gauge", "By how much the corrected clock may be wrong.", st.ClockBound.Seconds())
	fmt.Fprint(&b, "# HELP agent_online_devices Devices known, by state.\n# TYPE agent_online_devices gauge\n")
	states := make(map[string]int)
	for _, d := range st.Devices {
		states[string(d.State)]++
	}
	for _, s := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(&b, "agent_online_devices{state=%q} %d\n", s, states[s])
	}
	if e.sweep != nil {
		p := e.sweep.Progress()
		put("agent_sweep_addresses_total", "counter", "Addresses of listed subnets that were asked.", float64(p.Addresses))
		put("agent_sweep_round_ratio", "gauge", "How much of the current round is done.", float64(p.Done)/float64(p.Total))
		put("agent_sweep_round_devices", "gauge", "Devices that answered in the current round.", float64(p.Found))
		put("agent_sweep_rounds_total", "counter", "Rounds that ended.", float64(p.Rounds))
	}
	put("process_resident_memory_bytes", "gauge", "Resident memory.", float64(resident()))
	put("process_start_time_seconds", "gauge", "Start time since the Unix epoch.", float64(e.started.UnixMilli())/1000)
	put("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	fmt.Fprintf(&b, "# HELP agent_build_info The build.\n# TYPE agent_build_info gauge\nagent_build_info{version=%q} 1\n", e.opts.Version)
	return b.String()
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// resident returns this process's resident memory in bytes, 0 where nobody
// tells.
func resident() int {
	b, err := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n * os.Getpagesize()
}
