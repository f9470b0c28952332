package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/centre"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

const devSite = "dev"

type devOptions struct {
	data     string
	headless bool
	duration time.Duration
	format   string
	faults   string
	lan      bool
	listen   string
	verbose  bool
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use: "dev", Short: "Run everything on this machine, with virtual cameras", Args: noArgs,
		Long: "Run a centre, an agent and a town of virtual cameras on this machine, and watch them being found,\nenrolled, photographed every two seconds and fingerprinted. Ctrl-C ends it and removes what it made.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd, o, processStart()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "keep everything in this directory (default: a temporary one, removed at the end)")
	f.BoolVar(&o.headless, "headless", false, "print no status line")
	f.DurationVar(&o.duration, "for", 0, "end after this time (default: at Ctrl-C)")
	f.StringVarP(&o.format, "output", "o", "table", "how to print the summary: table or json")
	f.StringVar(&o.faults, "faults", "", "switch faults on: camera=fault,… (*=fault for all); faults are "+fmt.Sprint(camtest.Faults()))
	f.BoolVar(&o.lan, "lan", false, "look for real cameras on this machine's networks instead; they wait for your approval")
	f.StringVar(&o.listen, "listen", "127.0.0.1:7080", "address of the page; a free port if it is taken")
	f.BoolVar(&o.verbose, "verbose", false, "log to standard error")
	return cmd
}

// summary is what a run ends with.
type summary struct {
	CamerasFound struct {
		Total       int `json:"total"`
		WSDiscovery int `json:"wsdiscovery"`
		MDNS        int `json:"mdns"`
		UPnP        int `json:"upnp"`
	} `json:"cameras_found"`
	CamerasApproved int            `json:"cameras_approved"`
	Issued          uint64         `json:"issued"`
	Captured        uint64         `json:"captured"`
	Failed          uint64         `json:"failed"`
	Missed          uint64         `json:"missed"`
	Skipped         uint64         `json:"skipped"`
	InFlight        uint64         `json:"in_flight"`
	Failures        map[string]int `json:"failures"`
	DelayMS         struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	} `json:"delay_ms"`
	FirstFrameMS  int64  `json:"first_frame_ms"`
	Fingerprints  int    `json:"fingerprints"`
	OutboxPending int    `json:"outbox_pending"`
	Duplicates    uint64 `json:"duplicates"`
	Unaccounted   int    `json:"unaccounted"`
}

// unaccountedError ends a run whose books do not agree with the calendar. The
// summary has said so: it has no further words.
type unaccountedError int

func (unaccountedError) Error() string { return "" }
func (unaccountedError) ExitCode() int { return 1 }

// dev is one run.
type dev struct {
	o      devOptions
	began  time.Time     // of the process: what the user waited for is counted from there
	from   fleet.Instant // of this run's occurrences
	town   *camtest.Town
	centre *centre.Centre
	edge   *edge.Edge

	before fleet.Books // what a kept directory already held

	mu         sync.Mutex
	firstFrame time.Duration
}

func runDev(cmd *cobra.Command, o devOptions, began time.Time) (err error) {
	if o.format != "table" && o.format != "json" {
		return usage("-o %s: want table or json", o.format)
	}
	faults, err := camtest.ParseFaults(o.faults)
	if err != nil {
		return usage("%w", err)
	}
	dir := o.data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "shutterfleet-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	d := &dev{o: o, began: began, from: fleet.At(time.Now())}

	// Everything ends in order: ctx is the user's wish to end, run is the life
	// of the parts.
	ctx := cmd.Context()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, began.Add(o.duration))
		defer cancel()
	}
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(run); err != nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}

	if d.town, err = camtest.New(camtest.Options{Log: log}); err != nil {
		return err
	}
	co := centre.Options{
		DataDir: filepath.Join(dir, "centre"), AgentsListen: "127.0.0.1:0", AdminListen: o.listen, AdminFallback: true, ThumbnailEvery: -1, Version: version, Log: log,
	}
	if !o.lan {
		co.Faults = newTownFaults(d.town, faults)
	}
	if d.centre, err = centre.New(ctx, co); err != nil {
		return err
	}
	sched := d.centre.Scheduler
	held, err := sched.Books(ctx)
	if err != nil {
		return errors.Join(err, d.centre.Close())
	}
	d.before = held.Total
	events := sched.Subscribe(run)
	start("centre", d.centre.Run)
	if !o.headless {
		fmt.Fprintf(cmd.OutOrStdout(), "Open %s\n", d.centre.LoginURL())
	}
	interfaces := net.Interfaces
	if !o.lan {
		start("virtual cameras", d.town.Run)
		if err := d.town.Apply(faults); err != nil {
			return usage("%w", err)
		}
		interfaces = lan.Loopback
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	key, err := d.centre.CreateKey(ctx, scheduler.NewKey{Site: devSite, Approve: true})
	if err != nil {
		return err
	}
	if d.edge, err = edge.New(edge.Options{
		DataDir: filepath.Join(dir, "agent"), Server: d.centre.AgentsAddr(), SiteKey: key, Interfaces: interfaces, Version: version, Log: log,
	}); err != nil {
		return err
	}
	start("agent", func(ctx context.Context) error { return errors.Join(d.edge.Run(ctx), d.edge.Close()) })
	wg.Go(func() { d.watch(events) })
	if !o.headless && isTerminal(os.Stdout) {
		wg.Go(func() { d.status(run, cmd) })
	}

	select {
	case <-ctx.Done():
	case <-run.Done():
		return context.Cause(run)
	}
	return d.finish(cmd, run)
}

// prepare sets the schedules, the rule and the login before the first camera
// is found.
func (d *dev) prepare(ctx context.Context) error {
	s := d.centre.Scheduler
	lead, deadline := calendar.Duration(time.Second), calendar.Duration(10*time.Second)
	_, err := s.ApplySchedules(ctx, []calendar.Spec{
		{Name: "every-2s", Select: "*", Every: calendar.Duration(2 * time.Second), Lead: lead, Deadline: deadline},
		{Name: "welcome", Select: "*", Once: "approval", Lead: lead, Deadline: deadline},
	}, scheduler.ApplyOptions{})
	if err != nil || d.o.lan {
		return err
	}
	select {
	case <-d.town.Ready():
	case <-ctx.Done():
		return nil
	}
	// Our own town alone: another `dev` may run on this machine.
	own := netip.PrefixFrom(d.town.Cameras()[0].Addr, 24).Masked().Addr().String()
	own = strings.TrimSuffix(own, "0") + "*"
	if err := s.SetRules(ctx, map[string]string{"virtual cameras": "site=" + devSite + ",address=" + own}); err != nil {
		return err
	}
	c := d.town.Credentials()
	_, err = s.PutCredentials(ctx, scheduler.NewCredentials{Site: devSite, User: c.User, Password: c.Password})
	return err
}

// finish ends the run: no new orders, the due ones done, everything reported;
// then the books are checked from outside.
func (d *dev) finish(cmd *cobra.Command, run context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), 30*time.Second)
	defer cancel()
	if !d.o.headless {
		fmt.Fprintln(cmd.OutOrStdout(), "\nEnding: due orders are finished, the others taken back ...")
	}
	s := d.centre.Scheduler
	err := s.Stop(ctx)
	err = errors.Join(err, d.edge.Drain(ctx))
	sum, serr := d.summarize(ctx)
	if err = errors.Join(err, serr); err != nil {
		return err
	}
	if d.o.format == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		err = e.Encode(sum)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%d cameras found, %d approved. Of %d pictures asked for, %d came, %d failed, %d were missed, %d skipped; %d unaccounted.\n",
			sum.CamerasFound.Total, sum.CamerasApproved, sum.Issued, sum.Captured, sum.Failed, sum.Missed, sum.Skipped, sum.Unaccounted)
	}
	if sum.Unaccounted != 0 && err == nil {
		return unaccountedError(sum.Unaccounted)
	}
	return err
}

func (d *dev) summarize(ctx context.Context) (*summary, error) {
	s := d.centre.Scheduler
	sum := &summary{Failures: map[string]int{}}
	stats := d.edge.Stats()
	for _, dev := range stats.Devices {
		if !d.o.lan && !d.own(dev) {
			continue
		}
		sum.CamerasFound.Total++
		for _, via := range dev.Via {
			switch via {
			case fleet.ViaWSDiscovery:
				sum.CamerasFound.WSDiscovery++
			case fleet.ViaMDNS:
				sum.CamerasFound.MDNS++
			case fleet.ViaUPnP:
				sum.CamerasFound.UPnP++
			}
		}
	}
	sum.OutboxPending = stats.OutboxPending
	cams, err := s.Cameras(ctx, scheduler.CameraQuery{State: fleet.Approved})
	if err != nil {
		return nil, err
	}
	sum.CamerasApproved = len(cams)
	books, err := s.Books(ctx)
	if err != nil {
		return nil, err
	}
	b := since(d.before, books.Total)
	sum.Issued, sum.Captured, sum.Failed, sum.Missed, sum.Skipped, sum.InFlight, sum.Duplicates = b.Issued, b.Captured, b.Failed, b.Missed, b.Skipped, b.InFlight, b.Duplicates
	var delays []time.Duration
	for after := ""; ; {
		page, next, err := s.Captures(ctx, scheduler.CaptureQuery{After: after, Limit: 1000, From: d.from})
		if err != nil {
			return nil, err
		}
		for i := range page {
			c := &page[i]
			if c.Outcome == fleet.Captured {
				delays = append(delays, c.Delay)
				if c.Reading.Fingerprint.PDQ != (fleet.PDQ{}) {
					sum.Fingerprints++
				}
			} else {
				sum.Failures[string(c.Cause)]++
			}
		}
		if after = next; next == "" {
			break
		}
	}
	slices.Sort(delays)
	if n := len(delays); n > 0 {
		at := func(q float64) float64 { return float64(delays[int(q*float64(n-1))].Microseconds()) / 1000 }
		sum.DelayMS.P50, sum.DelayMS.P99, sum.DelayMS.Max = at(0.5), at(0.99), at(1)
	}
	d.mu.Lock()
	sum.FirstFrameMS = d.firstFrame.Milliseconds()
	d.mu.Unlock()
	audit, err := s.Audit(ctx, d.from, fleet.At(time.Now()))
	if err != nil {
		return nil, err
	}
	sum.Unaccounted = audit.Unaccounted()
	if sum.Unaccounted != 0 {
		fmt.Fprintln(os.Stderr, "unaccounted:", strings.Join(audit.Examples, "\n  "))
	}
	return sum, nil
}

// own reports whether the device is of our own town.
func (d *dev) own(dev fleet.Device) bool {
	return slices.ContainsFunc(d.town.Cameras(), func(c camtest.Info) bool { return slices.Contains(dev.Addresses, c.Addr) })
}

// since returns what this run added to the books.
func since(before, now fleet.Books) fleet.Books {
	return fleet.Books{
		Issued:   now.Issued - (before.Issued - before.InFlight), // what was in flight at once is ours already
		Captured: now.Captured - before.Captured, Failed: now.Failed - before.Failed, Missed: now.Missed - before.Missed,
		Skipped: now.Skipped - before.Skipped, InFlight: now.InFlight, Duplicates: now.Duplicates - before.Duplicates,
	}
}

// watch notes when the first frame could be seen.
func (d *dev) watch(events <-chan scheduler.Event) {
	for e := range events {
		if e.Kind == "thumbnail" {
			d.mu.Lock()
			if d.firstFrame == 0 {
				d.firstFrame = time.Since(d.began)
			}
			d.mu.Unlock()
		}
	}
}

// status keeps one line up to date.
func (d *dev) status(ctx context.Context, cmd *cobra.Command) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b, err := d.centre.Scheduler.Books(ctx)
		if err != nil {
			return
		}
		cams, err := d.centre.Scheduler.Cameras(ctx, scheduler.CameraQuery{})
		if err != nil {
			return
		}
		fmt.Fprintf(cmd.OutOrStdout(), "\r\033[K%d cameras · %d captured · %d failed · %d missed · %d in flight   (Ctrl-C ends it)", len(cams), b.Total.Captured, b.Total.Failed, b.Total.Missed, b.Total.InFlight)
	}
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// townFaults lets the page switch the town's faults, and remembers which are on.
type townFaults struct {
	town *camtest.Town

	mu sync.Mutex
	on map[camtest.CameraFault]bool
}

func newTownFaults(t *camtest.Town, on []camtest.CameraFault) *townFaults {
	f := &townFaults{town: t, on: map[camtest.CameraFault]bool{}}
	for _, x := range on {
		f.on[x] = true
	}
	return f
}

// Set switches a fault.
func (f *townFaults) Set(name, kind string, on bool) error {
	if err := f.town.SetFault(name, camtest.Fault(kind), on); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on[camtest.CameraFault{Camera: name, Fault: camtest.Fault(kind)}] = on
	return nil
}

// List tells each camera's faults.
func (f *townFaults) List() (out []admin.VirtualCamera) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.town.Cameras() {
		v := admin.VirtualCamera{Name: c.Name}
		for _, k := range camtest.Faults() {
			v.Faults = append(v.Faults, string(k))
			if f.on[camtest.CameraFault{Camera: c.Name, Fault: k}] || f.on[camtest.CameraFault{Camera: "*", Fault: k}] {
				v.On = append(v.On, string(k))
			}
		}
		out = append(out, v)
	}
	return out
}

// processStart returns when this process began, so that what the user waited
// for is counted whole.
func processStart() time.Time {
	now := time.Now()
	stat, err := os.ReadFile("/proc/self/stat")
	up, uerr := os.ReadFile("/proc/uptime")
	if err != nil || uerr != nil {
		return now
	}
	// Field 22 counts ticks of 10 ms since boot (proc(5)); the second field may
	// hold spaces and ends with the last parenthesis.
	rest := string(stat)[strings.LastIndexByte(string(stat), ')')+1:]
	fields := strings.Fields(rest)
	var ticks int64
	var seconds float64
	if len(fields) < 20 {
		return now
	}
	if _, err := fmt.Sscan(fields[19], &ticks); err != nil {
		return now
	}
	if _, err := fmt.Sscan(string(up), &seconds); err != nil {
		return now
	}
	age := time.Duration(seconds*float64(time.Second)) - time.Duration(ticks)*10*time.Millisecond
	if age < 0 || age > time.Minute {
		return now
	}
	return now.Add(-age)
}
