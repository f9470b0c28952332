package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
)

// DoctorOptions say what Doctor looks at.
type DoctorOptions struct {
	DataDir    string                          // default: the disk is not looked at
	Server     string                          // HOST:PORT; default: the centre is not looked at
	FFmpeg     string                          // as Options.FFmpeg
	Interfaces func() ([]net.Interface, error) // as Options.Interfaces; default: all that are up, without loopback
	Clock      func() time.Time                // the box's own; default time.Now
}

const (
	// hearWait is how long an interface gets to hear its own probe, which is sent
	// again after 1 s.
	hearWait = 1800 * time.Millisecond
	lookWait = 10 * time.Second

	// A capture is fired by the centre's clock, whose offset is measured; beyond
	// clockNoted something sets this box's clock wrong.
	clockNoted = 2 * time.Second

	// An agent's outbox takes 100 MB in a day without the centre with 1000
	// captures a minute at 70 B each; its database and its log take some more.
	leastDisk = 64 << 20
	fineDisk  = 512 << 20

	// syncNoted is a commit that holds up the next one. Cards for cameras take
	// 10 ms, worn ones seconds.
	syncNoted = 100 * time.Millisecond
	syncSlow  = time.Second

	// A capture takes a socket or two, and the runner 32 of them at a time.
	leastFiles = 256
	fineFiles  = 1024
)

// Doctor looks whether this box could be an agent, and calls each as a look
// ends. A running agent is not disturbed.
func Doctor(ctx context.Context, o DoctorOptions, each func(fleet.Rung)) []fleet.Rung {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Interfaces == nil {
		o.Interfaces = outward
	}
	var out []fleet.Rung
	tell := func(list ...fleet.Rung) {
		out = append(out, list...)
		for _, r := range list {
			each(r)
		}
	}
	tell(o.multicast(ctx)...)
	tell(o.centre(ctx)...)
	tell(o.disk(), o.ffmpeg(), files())
	return out
}

// outward lists the interfaces that are up and lead somewhere.
func outward() ([]net.Interface, error) {
	all, err := net.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagMulticast == 0
	}), err
}

// multicast sends a probe on each interface, in both families, and looks where
// it is heard.
func (o *DoctorOptions) multicast(ctx context.Context) []fleet.Rung {
	const fix = "permit UDP multicast to 239.255.255.250 and ff02::c on this interface in the machine's firewall; in a container use the host's network. Without it cameras are found only by hand or by listed subnets"
	ifis, err := o.Interfaces()
	if err != nil || len(ifis) == 0 {
		return []fleet.Rung{{Name: "multicast", Result: fleet.RungFailed, Detail: fmt.Sprintf("no network interface is up (%v)", err), Fix: "connect the machine to the cameras' network"}}
	}
	type link struct {
		name string
		v6   bool
	}
	opened, heard := map[link]bool{}, map[link]bool{}
	nonce := []byte("shutterfleet doctor " + rand.Text())
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, hearWait)
	defer cancel()
	// Its functions are called from one goroutine, which has ended when it returns.
	err = lan.Run(ctx, lan.Options{
		Interfaces: o.Interfaces, Every: time.Minute, Log: slog.New(slog.DiscardHandler),
		Group4: netip.MustParseAddrPort("239.255.255.250:3702"), Group6: netip.MustParseAddrPort("[ff02::c]:3702"), Hops: 1, MaxBytes: 1024,
		Probe: func(l *lan.Link, _ int) {
			opened[link{l.Name, l.V6}] = true
			l.Send(nonce)
		},
		Heard: func(p lan.Packet) {
			if p.Multicast && bytes.Equal(p.Data, nonce) {
				heard[link{p.Link.Name, p.Link.V6}] = true
			}
		},
	})
	took := time.Since(began)
	var out []fleet.Rung
	for _, i := range ifis {
		for _, v6 := range []bool{false, true} {
			l := link{i.Name, v6}
			r := fleet.Rung{Name: "multicast " + i.Name, Result: fleet.RungOK, Took: took, Detail: "its own probe is heard"}
			if v6 {
				r.Name = "IPv6 " + i.Name
				r.Detail = "has an address, and its own probe is heard"
			}
			switch {
			case !opened[l] && v6:
				r.Result, r.Detail = fleet.RungSkipped, "it has no IPv6 address: cameras with IPv6 alone are not found on it"
			case !opened[l]:
				r.Result, r.Detail = fleet.RungSkipped, "it has no IPv4 address"
			case !heard[l]:
				r.Result, r.Detail, r.Fix = fleet.RungFailed, "its own probe is not heard", fix
			}
			out = append(out, r)
		}
	}
	if len(opened) == 0 {
		out = append(out, fleet.Rung{Name: "multicast", Result: fleet.RungFailed, Took: took, Detail: fmt.Sprintf("no interface can be probed (%v)", err), Fix: "give an interface an address on the cameras' network"})
	}
	return out
}

// centre connects to the centre, and compares clocks.
func (o *DoctorOptions) centre(ctx context.Context) []fleet.Rung {
	line, clock := fleet.Rung{Name: "centre", Result: fleet.RungSkipped, Detail: "--server was not given"}, fleet.Rung{Name: "clock", Result: fleet.RungSkipped, Detail: "without the centre there is nothing to compare it with"}
	if o.Server == "" {
		return []fleet.Rung{line, clock}
	}
	id, enrolled, err := o.identity()
	if err != nil {
		line.Result, line.Detail, line.Fix = fleet.RungFailed, err.Error(), "move the data folder away, and start again with a site key"
		return []fleet.Rung{line, clock}
	}
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	began := time.Now()
	r, err := uplink.Look(ctx, o.Server, id, enrolled, o.Clock)
	line.Took = time.Since(began)
	if err != nil {
		line.Result, line.Detail = fleet.RungFailed, err.Error()
		line.Fix = "is --server right, and the scheduler running? A firewall must let TCP out to it; nothing in between may open its TLS"
		if strings.Contains(line.Detail, "TLS") {
			line.Fix = "the port answers and is not this agent's centre: is --server its agents' port (7443), and does nothing in between open its TLS? For another centre use a fresh data folder"
		}
		return []fleet.Rung{line, clock}
	}
	line.Result = fleet.RungOK
	line.Detail = fmt.Sprintf("%s: connected in %s, TLS in %s", o.Server, r.Connect.Round(time.Millisecond), r.TLS.Round(time.Millisecond))
	if !enrolled {
		line.Detail += "; this box has not enrolled, so whose centre it is was not checked"
	}
	switch {
	case r.NoClock != nil:
		clock.Detail = fmt.Sprintf("the centre does not tell its time: %v", r.NoClock)
	default:
		clock.Result = fleet.RungOK
		clock.Detail = fmt.Sprintf("%s off the centre's, within %s", r.Offset.Round(time.Millisecond), r.Bound.Round(time.Millisecond))
		if r.Offset.Abs() > clockNoted+r.Bound {
			clock.Result, clock.Fix = fleet.RungWarning, "set this machine's time server; an agent corrects for it while the centre can be reached"
		}
	}
	return []fleet.Rung{line, clock}
}

// identity reads who the agent of the data folder is, if there is one.
func (o *DoctorOptions) identity() (uplink.Identity, bool, error) {
	path := filepath.Join(o.DataDir, "agent.db")
	if _, err := os.Stat(path); o.DataDir == "" || errors.Is(err, os.ErrNotExist) {
		return uplink.Identity{}, false, nil
	}
	s, err := openStore(Options{DataDir: o.DataDir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return uplink.Identity{}, false, err
	}
	id, enrolled, err := s.Identity()
	return uplink.Identity(id), enrolled, errors.Join(err, s.Close())
}

// disk looks at the room and at how long a commit takes.
func (o *DoctorOptions) disk() fleet.Rung {
	r := fleet.Rung{Name: "disk", Result: fleet.RungSkipped, Detail: "--data was not given"}
	if o.DataDir == "" {
		return r
	}
	began := time.Now()
	sync, err := syncTime(o.DataDir)
	r.Took = time.Since(began)
	if err != nil {
		r.Result, r.Detail, r.Fix = fleet.RungFailed, err.Error(), "make the folder, and let this user write to it; a disk that refuses writes is full, read-only or worn out"
		return r
	}
	r.Result, r.Detail = fleet.RungOK, fmt.Sprintf("a write is safe after %s", sync.Round(100*time.Microsecond))
	room, known := freeBytes(o.DataDir)
	if known {
		r.Detail += fmt.Sprintf("; %d MB are free", room>>20)
	}
	switch {
	case known && room < leastDisk:
		r.Result, r.Fix = fleet.RungFailed, fmt.Sprintf("free some room: an agent needs at least %d MB", leastDisk>>20)
	case sync > syncSlow:
		r.Result, r.Fix = fleet.RungFailed, "use another disk or card: this one is worn out, or behind a network"
	case known && room < fineDisk:
		r.Result, r.Fix = fleet.RungWarning, fmt.Sprintf("free some room: %d MB last through days without the centre", fineDisk>>20)
	case sync > syncNoted:
		r.Result, r.Fix = fleet.RungWarning, "a faster disk or card lets more captures a second be kept"
	}
	return r
}

// syncTime is the median time of five small writes that are made durable.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is empty but for a few kB
	defer f.Close()           //nolint:errcheck // what counts is Sync
	var took []time.Duration
	for range 5 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[2], nil
}

func (o *DoctorOptions) ffmpeg() fleet.Rung {
	r := fleet.Rung{Name: "ffmpeg", Result: fleet.RungOK}
	w, err := worker.New(worker.Options{Program: o.FFmpeg})
	if err != nil || len(w.Codecs()) == 0 {
		r.Result, r.Detail, r.Fix = fleet.RungWarning, fmt.Sprintf("%s is not there: no H.264 and H.265 are decoded", cmp.Or(o.FFmpeg, "ffmpeg")), "install ffmpeg, unless all cameras offer JPEG"
		return r
	}
	r.Detail = "decodes " + strings.Join(words(w.Codecs()), ", ")
	return r
}

func words(list []fleet.Codec) (out []string) {
	for _, c := range list {
		out = append(out, string(c))
	}
	return out
}

// files looks at how many files and sockets may be open.
func files() fleet.Rung {
	r := fleet.Rung{Name: "open files", Result: fleet.RungSkipped, Detail: "this system does not tell its limit"}
	n, known := fileLimit()
	if !known {
		return r
	}
	r.Result, r.Detail = fleet.RungOK, fmt.Sprintf("%d may be open", n)
	fix := fmt.Sprintf("raise the limit to %d or more (ulimit -n, LimitNOFILE= of the service)", fineFiles)
	switch {
	case n < leastFiles:
		r.Result, r.Fix = fleet.RungFailed, fix
	case n < fineFiles:
		r.Result, r.Fix = fleet.RungWarning, fix
	}
	return r
}
