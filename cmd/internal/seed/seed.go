// Package seed fills a centre's data directory with a whole fleet before its
// scheduler first starts, for benches: what weeks of enrolment leave behind.
//
//	Plan ─► keys, certificates ─► roster of agents
//	     ─► sites, agents, cameras, one schedule, open spans ─► store
package seed

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// Plan says how large the fleet is and when it is photographed.
type Plan struct {
	Cameras int // all approved; 0 = none, and no schedule
	Sites   int // default: as many as agents
	Agents  int // spread over the sites in turn; default 1

	Every    time.Duration // of the one schedule
	Lead     time.Duration // default: the schedule language's
	Deadline time.Duration // default: the schedule language's
	Ahead    time.Duration // from the end of seeding to the first nominal time
	For      time.Duration // from the first nominal time to the end of what is measured; the schedule goes on for another lead
}

// Seeded is what was made.
type Seeded struct {
	Roster   swarm.Roster
	From     fleet.Instant // nominal times of the schedule are in [From, Until)
	Measured fleet.Instant // From + Plan.For: until then as many orders are issued as come back
	Until    fleet.Instant // Measured + Lead
	Expected int           // occurrences in it, by the calendar
	Lead     time.Duration
	Deadline time.Duration
}

// ScheduleName is what the schedule is called.
const ScheduleName = "bench"

// inBatch is how many rows go into one commit: few syncs, little memory.
const inBatch = 20_000

// spanTime is how long a span takes to be written, with room: the first nominal
// time lies after all of them. Measured: 6 µs.
const spanTime = 15 * time.Microsecond

// Camera returns the id of the i-th camera: spread over all 64 bits, as ids
// made at random are, and each its own, for the factor is odd.
func Camera(i int) fleet.CameraID { return fleet.CameraID(uint64(i+1) * 0x9e3779b97f4a7c15) }

// Site returns the id of the i-th site.
func Site(i int) fleet.SiteID { return fleet.SiteID(fmt.Sprintf("site-%05d", i)) }

// Write fills dir, which no scheduler has used yet.
func Write(ctx context.Context, dir string, p Plan) (out Seeded, err error) {
	p.Agents = cmp.Or(p.Agents, 1)
	p.Sites = cmp.Or(p.Sites, p.Agents)
	switch {
	case p.Cameras < 0 || p.Agents < 0 || p.Sites < 0:
		return out, errors.New("seed: a fleet has no negative size")
	case p.Sites > p.Agents:
		return out, fmt.Errorf("seed: %d sites and %d agents: each site wants an agent", p.Sites, p.Agents)
	}
	pki, err := gateway.LoadPKI(dir)
	if err != nil {
		return out, err
	}
	st, state, err := store.Open(ctx, dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	cameras, err := st.CountCameras(ctx)
	if err != nil {
		return out, err
	}
	if cameras+len(state.Agents) > 0 {
		return out, fmt.Errorf("seed: %s holds a fleet already: name an empty directory", dir)
	}
	now := fleet.At(time.Now())
	s := seeder{plan: p, store: st, pki: pki, now: now}
	if out.Roster, err = s.agents(ctx); err != nil {
		return out, err
	}
	if err := s.cameras(ctx); err != nil || p.Cameras == 0 {
		return out, err
	}
	err = s.schedule(ctx, &out)
	return out, err
}

type seeder struct {
	plan  Plan
	store *store.Store
	pki   *gateway.PKI
	now   fleet.Instant
}

// each commits n rows in batches.
func (s *seeder) each(ctx context.Context, n int, add func(b *store.Batch, i int) error) error {
	for i := 0; i < n; {
		var b store.Batch
		for end := min(i+inBatch, n); i < end; i++ {
			if err := add(&b, i); err != nil {
				return err
			}
		}
		if err := s.store.Commit(ctx, &b); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeder) agents(ctx context.Context) (swarm.Roster, error) {
	r := swarm.Roster{CA: s.pki.CA.Raw, OrderKey: s.pki.OrderKey()}
	err := s.each(ctx, s.plan.Sites, func(b *store.Batch, i int) error {
		b.Sites = append(b.Sites, fleet.Site{ID: Site(i), Created: s.now})
		return nil
	})
	if err != nil {
		return r, err
	}
	err = s.each(ctx, s.plan.Agents, func(b *store.Batch, i int) error {
		a := fleet.Agent{
			ID: fleet.AgentID(fmt.Sprintf("agt-%013d", i)), Site: Site(i % s.plan.Sites), Hostname: fmt.Sprintf("box-%05d", i),
			Version: "bench", State: fleet.Approved, Enrolled: s.now, Seen: s.now,
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		cert, err := s.pki.Certify(key.Public(), a)
		if err != nil {
			return err
		}
		b.Agents = append(b.Agents, a)
		r.Agents = append(r.Agents, swarm.Identity{Agent: a.ID, Site: a.Site, Key: der, Certificate: cert})
		return nil
	})
	return r, err
}

// cameras look as found ones do: a name, an address, an endpoint, a label.
func (s *seeder) cameras(ctx context.Context) error {
	return s.each(ctx, s.plan.Cameras, func(b *store.Batch, i int) error {
		n := i / s.plan.Sites // within the site
		addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		url := "rtsp://" + addr.String() + "/stream1"
		b.Cameras = append(b.Cameras, fleet.Camera{
			ID: Camera(i), Site: Site(i % s.plan.Sites), Name: fmt.Sprintf("Camera %07d", i), State: fleet.Approved,
			Device: string(fleet.ClaimURL) + ":" + url, DeviceState: fleet.DeviceOK,
			Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: url}}, Addresses: []netip.Addr{addr}, Via: []fleet.Via{fleet.ViaManual},
			Vendor: "Bench", Model: "B-1", Labels: map[string]string{"role": "shelf"}, Version: 1, Created: s.now, Enabled: s.now,
		})
		return nil
	})
}

// schedule writes the schedule and a span for each camera, as the scheduler
// itself would have opened them, and moves the issue clock to just before the
// first occurrence: nothing was due until now.
func (s *seeder) schedule(ctx context.Context, out *Seeded) error {
	p := s.plan
	out.From = fleet.At(time.Now().Add(p.Ahead + time.Duration(p.Cameras)*spanTime))
	out.Measured = out.From.Add(p.For)
	spec := calendar.Spec{
		Name: ScheduleName, Select: "*", Every: calendar.Duration(p.Every), Lead: calendar.Duration(p.Lead), Deadline: calendar.Duration(p.Deadline),
		From: out.From.String(),
	}
	cal, err := spec.Compile()
	if err != nil {
		return err
	}
	out.Lead, out.Deadline = cal.Lead(), cal.Deadline()
	out.Until = out.Measured.Add(out.Lead)
	spec.Until = out.Until.String()
	if cal, err = spec.Compile(); err != nil {
		return err
	}
	place, err := json.Marshal(calendar.Place{})
	if err != nil {
		return err
	}
	// Occurrences up to Through + lead are in the books: there are none.
	through := out.From.Add(-cal.Lead()) - 1
	first := store.Batch{Through: through, Schedules: []store.Schedule{{
		ID: cal.ID(), Name: ScheduleName, Revision: 1, Spec: json.RawMessage(spec.JSON()), Applied: s.now,
	}}}
	if err := s.store.Commit(ctx, &first); err != nil {
		return err
	}
	return s.each(ctx, p.Cameras, func(b *store.Batch, i int) error {
		span := store.Span{Camera: Camera(i), Schedule: cal.ID(), Revision: 1, From: out.From, Enabled: s.now, Place: string(place)}
		b.OpenSpans = append(b.OpenSpans, span)
		t := calendar.Task{Camera: span.Camera, Enabled: span.Enabled}
		for n, ok := cal.Next(t, out.From-1); ok && n < out.Until; n, ok = cal.Next(t, n) {
			out.Expected++
		}
		return nil
	})
}
