// Package uplink is the agent's line to the centre: it enrols once, keeps one
// stream open, takes signed instructions, and reports outcomes until the
// centre has stored them.
//
//	Enrol ─► Link ─► Hello/Welcome ─┬─ Signed ─► verify ─► Store.Begin… ─► OrdersStored
//	   ▲       │                    ├─ Store.Take ─► Report ─► ReportStored ─► Store.Ack
//	   │       ▼                    ├─ ClockProbe ─► ClockAnswer ─► Clock
//	   │       │                    ├─ Signed(Command) ─► Doer ─► CommandResult
//	   │       │                    ├─ PermitAsk ─► PermitAnswer … LoginSettled
//	   └── backoff ◄── cut ─────────┴─ Thumbnail, Inventory, Load
//
// Without the line everything else goes on: orders are captured, outcomes wait.
package uplink

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Row is an undelivered outcome under the number that Ack takes.
type Row struct {
	ID      int64
	Capture fleet.Capture
}

// Cameras is one change of the camera list.
type Cameras struct {
	Version uint64
	Full    bool
	Put     []fleet.Target
	Remove  []fleet.CameraID
	Site    []fleet.Credentials
}

// Store is what the uplink needs of the agent's memory; agent/store keeps its
// contracts.
type Store interface {
	Identity() (Identity, bool, error)
	SetIdentity(ctx context.Context, id Identity) error
	Last() (nonce, fence uint64)
	CamerasVersion() uint64
	Begin(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error
	Recall(ctx context.Context, o []fleet.Occurrence, nonce, fence uint64) ([]fleet.Occurrence, error)
	SetCameras(ctx context.Context, c Cameras, nonce, fence uint64) error
	// NeedMasks notes which revisions of masks the orders that are taken next ask for.
	NeedMasks(revisions map[fleet.CameraID]uint64) error
	// NeededMasks tells which of these have not come.
	NeededMasks() map[fleet.CameraID]uint64
	// Mask tells what is hidden of a camera now, or why nobody may look at it.
	Mask(fleet.CameraID) (*fleet.Mask, error)
	// SetStanding keeps an encoded wire.Standing. Now is the corrected time.
	SetStanding(ctx context.Context, version uint64, raw []byte, now fleet.Instant, nonce, fence uint64) error
	StandingVersion() uint64
	// TakeCommand remembers a command's id; ErrTaken when it was there before.
	TakeCommand(ctx context.Context, id string, deadline, now fleet.Instant, nonce, fence uint64) error
	// SetClock keeps a measured offset, along with what is written next.
	SetClock(offset, bound time.Duration) error
	Sync(ctx context.Context) error
	Take(ctx context.Context, limit int) ([]Row, error)
	Return(ids []int64)
	Ack(ctx context.Context, ids []int64) error
	OutboxChanged() <-chan struct{}
	Counts() (orders, running, pending int)
}

// ErrTaken is what a Store's TakeCommand says of a command that was taken
// before.
var ErrTaken = errors.New("the command was taken before")

// Options configure an Uplink.
type Options struct {
	Server     string            // HOST:PORT; required
	SiteKey    fleet.Secret      // needed until the agent has enrolled
	Hostname   string            // for people
	Version    string            // the build
	Able       fleet.Able        // what this agent can do
	Load       func() fleet.Load // what its box bears; default: nothing is told
	LoadEvery  time.Duration     // between Loads; default 5s
	Batch      int               // outcomes in a report; default 64
	Window     int               // reports in flight; default 4
	AckTimeout time.Duration     // after it a report is sent again; default 5s, doubled while the centre stays silent
	Heartbeat  time.Duration     // between clock probes; default 10s; a link is given up when one goes unanswered that long
	MaxBackoff time.Duration     // ceiling between attempts to connect; default 15s
	Clock      *Clock            // default: NewClock(0, 0, false)
	Commands   Doer              // does what operators ask for; default: nothing, and says so
	Log        *slog.Logger      // default: none

	// Dial replaces the network, for tests.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Uplink is the line. Make it with New, then Run it.
type Uplink struct {
	store Store
	opts  Options
	key   *fleet.SiteKey
	clock *Clock
	log   *slog.Logger

	thumbs    thumbs
	inventory inventory
	permits   permits

	mu     sync.Mutex
	status Status
	listed time.Time // when the list of cameras was asked for again
}

// Status is what people and probes want to know of the line.
type Status struct {
	Agent     fleet.AgentID // empty before enrolment
	Site      fleet.SiteID
	Connected bool
	Since     time.Time // of Connected
	Err       error     // why the last link ended; nil while connected
	Links     uint64    // streams opened so far
	Refused   uint64    // instructions not taken: signature, addressee, nonce, expiry or fence
	Resent    uint64    // reports sent again because no answer came
}

// New returns an Uplink over the store. It checks the options; Run connects.
func New(s Store, o Options) (*Uplink, error) {
	o.Batch = cmp.Or(o.Batch, 64)
	o.Window = cmp.Or(o.Window, 4)
	o.AckTimeout = cmp.Or(o.AckTimeout, 5*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, 10*time.Second)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 15*time.Second)
	if o.Clock == nil {
		o.Clock = NewClock(0, 0, false)
	}
	if o.Load == nil {
		o.Load = func() fleet.Load { return fleet.Load{} }
	}
	o.LoadEvery = cmp.Or(o.LoadEvery, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		return nil, fmt.Errorf("server %q: want HOST:PORT, for example centre.example:7443", o.Server)
	}
	u := &Uplink{store: s, opts: o, clock: o.Clock, log: o.Log, thumbs: newThumbs(), inventory: newInventory(), permits: newPermits()}
	if o.SiteKey != "" {
		k, err := fleet.ParseSiteKey(o.SiteKey)
		if err != nil {
			return nil, err
		}
		u.key = &k
	}
	return u, nil
}

// Clock returns the corrected clock.
func (u *Uplink) Clock() *Clock { return u.clock }

// Status returns how the line is.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

// Run enrols if need be and keeps a stream open until ctx is done. It returns
// an error only when no attempt could ever work: there is no identity and no
// site key to get one with, the key is from another centre than the identity,
// or that cannot be read.
func (u *Uplink) Run(ctx context.Context) error {
	tries := 0
	for ctx.Err() == nil {
		id, ok, err := u.store.Identity()
		if err != nil {
			return fmt.Errorf("uplink: %w", err)
		}
		if ok && u.key != nil && sha256.Sum256(id.CA) != u.key.CA {
			return errors.New("uplink: the site key is from another centre than the one this agent has enrolled at: give it a fresh data folder, or the right key")
		}
		if !ok && u.key == nil {
			return errors.New("uplink: this agent has not enrolled: give it a site key (`shutterfleet keys create --site S`, then --site-key-file F)")
		}
		began := time.Now()
		if !ok {
			err = u.enrol(ctx)
		} else {
			err = u.link(ctx, id)
		}
		if ctx.Err() != nil {
			break
		}
		if err == nil || time.Since(began) > 2*u.opts.MaxBackoff {
			tries = 0
		}
		if err == nil {
			continue
		}
		tries++
		wait := u.backoff(tries, errors.Is(err, ErrRejected))
		u.down(err, tries, wait)
		if !sleep(ctx, wait) {
			break
		}
	}
	u.down(nil, 0, 0)
	return nil //nolint:nilerr // the end was wanted
}

func (u *Uplink) enrol(ctx context.Context) error {
	id, err := u.enrolOnce(ctx)
	if err != nil {
		return err
	}
	if err := u.store.SetIdentity(ctx, id); err != nil {
		// Without it a restart would enrol a second time and leave a ghost.
		return fmt.Errorf("keep the identity: %w", err)
	}
	u.log.InfoContext(ctx, "enrolled", "agent_id", id.Agent, "site", id.Site)
	return nil
}

func (u *Uplink) enrolOnce(ctx context.Context) (Identity, error) {
	return Enrol(ctx, u.opts.Server, *u.key, u.opts.Hostname, u.opts.Version, u.dialOptions()...)
}

func (u *Uplink) dialOptions() []grpc.DialOption {
	if u.opts.Dial == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithContextDialer(u.opts.Dial)}
}

// backoff returns the wait before attempt n+1: full jitter under a ceiling that
// doubles. The first two are quick, because most cuts are a restart of the
// other side; a rejected agent asks once a minute, for an operator may change
// his mind.
func (u *Uplink) backoff(n int, rejected bool) time.Duration {
	ceiling := min(u.opts.MaxBackoff, 500*time.Millisecond<<min(n-1, 16))
	switch {
	case rejected:
		ceiling = time.Minute
		return ceiling/2 + rand.N(ceiling/2)
	case n <= 2:
		ceiling = 200 * time.Millisecond
	}
	return rand.N(ceiling + 1)
}

// up and down keep the status, and log a lasting fault once at its begin and
// once at its end.
func (u *Uplink) up(id Identity) {
	u.mu.Lock()
	u.status.Agent, u.status.Site = id.Agent, id.Site
	u.status.Connected, u.status.Since, u.status.Err = true, time.Now(), nil
	u.status.Links++
	u.mu.Unlock()
	u.log.Info("connected", "agent_id", id.Agent, "server", u.opts.Server)
}

func (u *Uplink) down(err error, tries int, wait time.Duration) {
	u.mu.Lock()
	first := u.status.Connected || u.status.Err == nil
	u.status.Connected, u.status.Err = false, err
	u.mu.Unlock()
	switch {
	case err == nil:
	case first || errors.Is(err, ErrRejected):
		u.log.Warn("no line to the centre, captures go on", "server", u.opts.Server, "err", err)
	default:
		u.log.Debug("still no line to the centre", "attempt", tries, "wait", wait, "err", err)
	}
}

func (u *Uplink) count(f func(*Status)) {
	u.mu.Lock()
	f(&u.status)
	u.mu.Unlock()
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
