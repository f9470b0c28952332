package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/child"
	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// fleetBench is one run.
type fleetBench struct {
	o        fleetOptions
	progress io.Writer
	dir      string // the scheduler's
	seeded   seed.Seeded

	began     time.Time    // of the scheduler's process
	listening func() error // called before the agents are told where to connect, if set
	scheduler *child.Process
	agents    *child.Process
	api       *client.Client
	sent      chan swarm.Sent // capacity 1: samples that find the observer busy are dropped

	mu    sync.Mutex
	stats swarm.Stats
}

// aheadOf is how long before the first nominal time seeding ends: the scheduler
// has to start and the agents to connect. A handshake and the first list of
// cameras cost some milliseconds of processor time on either side; 40 µs per camera is what a start may take at
// most to be of use.
func (o *fleetOptions) aheadOf() time.Duration {
	return 3*time.Second + time.Duration(o.cameras)*40*time.Microsecond + time.Duration(o.agents)*10*time.Millisecond
}

func runFleet(ctx context.Context, o fleetOptions, progress io.Writer) (res *fleetResult, err error) {
	work := o.data
	if work == "" {
		if work, err = os.MkdirTemp("", "shutterfleet-bench-"); err != nil {
			return nil, err
		}
		if o.keep {
			fmt.Fprintln(progress, "the run's files are in", work)
		} else {
			defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
		}
	}
	b := &fleetBench{o: o, progress: progress, dir: filepath.Join(work, "centre"), sent: make(chan swarm.Sent, 1)}
	fmt.Fprintf(progress, "seeding %d cameras and %d agents ...\n", o.cameras, o.agents)
	t := time.Now()
	b.seeded, err = seed.Write(ctx, b.dir, seed.Plan{
		Cameras: o.cameras, Sites: o.sites, Agents: o.agents, Every: o.interval, Lead: o.lead, Deadline: o.deadline, Ahead: o.aheadOf(), For: o.duration,
	})
	if err != nil {
		return nil, err
	}
	roster := filepath.Join(work, "roster.json")
	if err := b.seeded.Roster.Write(roster); err != nil {
		return nil, err
	}
	before, err := diskUse(b.dir)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "seeded in %.1f s; first due in %.1f s\n", time.Since(t).Seconds(), time.Until(b.seeded.From.Time()).Seconds())

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, err := b.start(roster, cancel) //nolint:contextcheck // processes end in order, also when ctx has ended
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	res, err = b.measure(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	if err = errors.Join(err, stop()); err != nil {
		return nil, err
	}
	after, err := diskUse(b.dir)
	if err != nil {
		return nil, err
	}
	if n := res.Issued; n > 0 {
		res.DiskBytes = round(float64(after-before)/float64(n), 1)
	}
	return res, nil
}

// start runs both processes. stop ends them, also when start failed.
func (b *fleetBench) start(roster string, cancel context.CancelCauseFunc) (stop func() error, err error) {
	exe, err := os.Executable()
	stop = func() error { return nil }
	if err != nil {
		return stop, err
	}
	// The agents' process reads its roster while the scheduler starts.
	args := []string{"bench", "swarm", "--roster", roster, "--from", fmt.Sprint(int64(b.seeded.From)), "--until", fmt.Sprint(int64(b.seeded.Measured))}
	if b.o.trusting {
		args = append(args, "--trusting")
	}
	if b.agents, err = child.Start(&lineReader{line: b.heard}, b.progress, exe, args...); err != nil {
		return stop, err
	}
	stop = func() error {
		if err := b.agents.CloseInput(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		if b.agents.Wait(ctx) != nil && ctx.Err() != nil {
			return b.agents.Stop(time.Second)
		}
		return b.agents.Err()
	}
	type listening struct{ Msg, Agents, Page string }
	up := make(chan listening, 1)
	var last ring
	logs := &lineReader{line: func(line []byte) {
		var m listening
		if json.Unmarshal(line, &m) == nil && m.Msg == "scheduler started" {
			up <- m
		}
		last.add(line)
	}}
	b.began = time.Now()
	args = []string{"scheduler", "--data", b.dir, "--agents-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--machine-listen", ""}
	if b.o.profile != "" {
		args = append(args, "--cpu-profile", b.o.profile)
	}
	if b.scheduler, err = child.Start(io.Discard, logs, exe, args...); err != nil {
		return stop, err
	}
	stopAgents := stop
	stopping := make(chan struct{})
	stop = func() error {
		close(stopping)
		err := stopAgents()
		if serr := b.scheduler.Stop(stopWait); serr != nil {
			err = errors.Join(err, fmt.Errorf("scheduler: %w\n%s", serr, last.text()))
		}
		return err
	}
	for name, p := range map[string]*child.Process{"scheduler": b.scheduler, "agents": b.agents} {
		go func() {
			select {
			case <-stopping:
			case <-p.Done():
				cancel(fmt.Errorf("the %s process ended: %w\n%s", name, cmpErr(p.Err()), last.text()))
			}
		}()
	}
	var at listening
	select {
	case at = <-up:
	case <-b.scheduler.Done():
		return stop, fmt.Errorf("the scheduler did not start: %w", cmpErr(b.scheduler.Err()))
	case <-time.After(startWait):
		return stop, fmt.Errorf("the scheduler did not start within %v", startWait)
	}
	if b.listening != nil {
		if err := b.listening(); err != nil {
			return stop, err
		}
	}
	if err := b.agents.Say(at.Agents + "\n"); err != nil {
		return stop, err
	}
	b.api, err = client.New(client.Options{Server: at.Page, TokenFile: filepath.Join(b.dir, "admin.token")})
	return stop, err
}

const (
	// startWait is longer than any start that is worth measuring.
	startWait = 10 * time.Minute
	// stopWait is how long either process may take to end: open files of a
	// large fleet have to be written out.
	stopWait = time.Minute
)

func cmpErr(err error) error {
	if err == nil {
		return errors.New("in order, and too early")
	}
	return err
}

// heard takes one line of what the agents' process says.
func (b *fleetBench) heard(line []byte) {
	var m swarmSays
	if json.Unmarshal(line, &m) != nil {
		return
	}
	if m.Stats != nil {
		b.mu.Lock()
		b.stats = *m.Stats
		b.mu.Unlock()
	}
	if m.Sent != nil {
		select {
		case b.sent <- *m.Sent:
		default:
		}
	}
}

func (b *fleetBench) told() swarm.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *fleetBench) books(ctx context.Context) (admin.AllBooks, error) {
	var books admin.AllBooks
	err := b.api.Get(ctx, "books", nil, &books)
	return books, err
}
