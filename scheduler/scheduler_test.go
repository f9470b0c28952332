package scheduler_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// open runs a scheduler in dir until the returned function is called.
func open(t *testing.T, dir string) (*scheduler.Scheduler, func()) {
	t.Helper()
	return openWith(t, dir, scheduler.Options{})
}

func openWith(t *testing.T, dir string, o scheduler.Options) (*scheduler.Scheduler, func()) {
	t.Helper()
	o.SealKey = [32]byte{1}
	s, err := scheduler.New(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func apply(t *testing.T, s *scheduler.Scheduler, specs ...calendar.Spec) scheduler.Plan {
	t.Helper()
	return must[scheduler.Plan](t)(s.ApplySchedules(t.Context(), specs, scheduler.ApplyOptions{Prune: true}))
}

func every(name string, d time.Duration) calendar.Spec {
	return calendar.Spec{Name: name, Select: "*", Every: calendar.Duration(d), Lead: calendar.Duration(5 * time.Second)}
}

func enrol(t *testing.T, s *scheduler.Scheduler, site fleet.SiteID) fleet.Agent {
	t.Helper()
	_, text, err := s.CreateKey(t.Context(), scheduler.NewKey{Site: site, Approve: true}, [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	k := must[fleet.SiteKey](t)(fleet.ParseSiteKey(text))
	return must[fleet.Agent](t)(s.Enrol(t.Context(), k.Secret[:], "box", "test"))
}

// robot is an agent that fulfils each order at its time, at once.
type robot struct {
	s      *scheduler.Scheduler
	id     fleet.AgentID
	stands bool          // it keeps its orders while it is cut off
	abrupt bool          // its stream breaks instead of ending
	silent time.Duration // and it said nothing for so long before

	mu   sync.Mutex
	held map[fleet.Occurrence]fleet.Order
	done []fleet.Capture // reported again by repeat
}

func (r *robot) run(ctx context.Context, t *testing.T) {
	l, err := r.s.Connect(ctx, r.id, "box", "test")
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("connect: %v", err)
		}
		return
	}
	defer func() {
		if r.silent > 0 {
			l.Alive(time.Now().Add(-r.silent))
		}
		r.s.Disconnect(context.Background(), l, !r.abrupt)
	}()
	go func() {
		for {
			in, err := l.Next(ctx)
			if err != nil {
				return
			}
			r.mu.Lock()
			for _, o := range in.Orders {
				r.held[o.Occurrence] = o
			}
			for _, o := range in.Recall {
				delete(r.held, o)
			}
			r.mu.Unlock()
			if in.Standing == nil || r.stands {
				l.Stored(in.Nonce)
			}
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := fleet.At(time.Now())
		var cs []fleet.Capture
		r.mu.Lock()
		for k, o := range r.held {
			if o.Nominal <= now {
				cs = append(cs, fleet.Capture{Occurrence: k, Outcome: fleet.Captured, At: now})
				delete(r.held, k)
			}
		}
		r.done = append(r.done, cs...)
		r.mu.Unlock()
		if len(cs) > 0 {
			if err := r.s.Complete(ctx, r.id, cs); err != nil && ctx.Err() == nil {
				t.Errorf("complete: %v", err)
			}
		}
	}
}

func audit(t *testing.T, s *scheduler.Scheduler) scheduler.AuditReport {
	t.Helper()
	return must[scheduler.AuditReport](t)(s.Audit(t.Context(), 0, fleet.At(time.Now())))
}

func books(t *testing.T, s *scheduler.Scheduler) fleet.Books {
	t.Helper()
	b := must[scheduler.BooksReport](t)(s.Books(t.Context())).Total
	if !b.Balanced() {
		t.Errorf("the books do not balance: %+v", b)
	}
	return b
}

// TestAccounted lives an hour of virtual time in which cameras and schedules
// come, change and go, and the agent disconnects now and then. Every occurrence
// that the calendar yields has exactly one outcome.
func TestAccounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		apply(t, s, every("quick", 7*time.Second), every("slow", time.Minute), calendar.Spec{Name: "hello", Select: "*", Once: "approval"})
		a := enrol(t, s, "lab")
		r := &robot{s: s, id: a.ID, held: map[fleet.Occurrence]fleet.Order{}}
		var ids []fleet.CameraID
		rng := rand.New(rand.NewPCG(1, 2))
		for minute := range 60 {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			if minute%9 != 8 { // sometimes nobody is there
				wg.Go(func() { r.run(ctx, t) })
			}
			switch minute % 6 {
			case 0:
				v := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "http://192.0.2." + string(rune('0'+minute/6)) + "/snapshot.jpg"}))
				ids = append(ids, v.ID)
			case 2:
				label := "x"
				must[scheduler.CameraView](t)(s.SetCamera(t.Context(), ids[rng.IntN(len(ids))], scheduler.CameraChange{Labels: map[string]*string{"k": &label}}))
			case 3:
				apply(t, s, every("quick", time.Duration(5+minute%5)*time.Second), every("slow", time.Minute), calendar.Spec{Name: "hello", Select: "*", Once: "approval"})
			case 4:
				id := ids[rng.IntN(len(ids))]
				must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Ignored))
				must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved))
			}
			time.Sleep(time.Minute)
			cancel()
			wg.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.run(ctx, t) })
		sctx, scancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer scancel()
		if err := s.Stop(sctx); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		rep, b := audit(t, s), books(t, s)
		if rep.Unaccounted() != 0 || rep.Expected < 2000 || uint64(rep.Expected) != b.Issued || b.InFlight != 0 || b.Captured == 0 || b.Missed == 0 {
			t.Errorf("audit %+v\nbooks %+v", rep, b)
		}
	})
}

// TestOnce reports each outcome three times, and over a restart: it is counted
// once.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 10*time.Second))
		a := enrol(t, s, "lab")
		cam := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"}))
		r := &robot{s: s, id: a.ID, held: map[fleet.Occurrence]fleet.Order{}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.run(ctx, t) })
		time.Sleep(5 * time.Minute)
		cancel()
		wg.Wait()
		before := books(t, s)
		if err := errors.Join(s.Complete(t.Context(), a.ID, r.done), s.Complete(t.Context(), a.ID, r.done)); err != nil {
			t.Fatal(err)
		}
		stop()
		s, stop = open(t, dir)
		defer stop()
		if err := s.Complete(t.Context(), a.ID, r.done); err != nil {
			t.Fatal(err)
		}
		after := books(t, s)
		if after.Captured != before.Captured || after.Duplicates != 3*uint64(len(r.done)) {
			t.Errorf("captured %d, then %d; %d duplicates of %d outcomes", before.Captured, after.Captured, after.Duplicates, len(r.done))
		}
		cs, _, err := s.Captures(t.Context(), scheduler.CaptureQuery{Camera: cam.ID})
		if err != nil || len(cs) != len(r.done) {
			t.Errorf("%d rows of %d outcomes, %v", len(cs), len(r.done), err)
		}
	})
}

// TestSchedulerDown stops the scheduler for ten minutes: what should have been
// is missed, with that cause, and nothing else is.
func TestSchedulerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 30*time.Second))
		must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"}))
		time.Sleep(2 * time.Minute)
		stop()
		time.Sleep(10 * time.Minute)
		s, stop = open(t, dir)
		defer stop()
		time.Sleep(2 * time.Minute)
		cs, _, err := s.Captures(t.Context(), scheduler.CaptureQuery{})
		if err != nil {
			t.Fatal(err)
		}
		causes := map[fleet.Cause]int{}
		for _, c := range cs {
			if c.Outcome != fleet.Missed {
				t.Errorf("%s is %s", c.Occurrence, c.Outcome)
			}
			causes[c.Cause]++
		}
		if n := causes[fleet.CauseSchedulerDown]; n < 17 || n > 20 {
			t.Errorf("%d missed because the scheduler was down, want one each 30 s of 10 minutes", n)
		}
		if rep := audit(t, s); rep.MissingOutcome != 0 || rep.Unexpected != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

// TestHandOver cuts one of two agents off: its undue orders go to the other.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		apply(t, s, calendar.Spec{Name: "often", Select: "*", Every: calendar.Duration(10 * time.Second)})
		one, two := enrol(t, s, "lab"), enrol(t, s, "lab")
		// Which of the two serves a camera is a hash of ids that are drawn at random:
		// with as many cameras, each serves some.
		const cameras = 24
		for i := range cameras {
			must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/" + string(rune('a'+i))}))
		}
		r1 := &robot{s: s, id: one.ID, held: map[fleet.Occurrence]fleet.Order{}}
		r2 := &robot{s: s, id: two.ID, held: map[fleet.Occurrence]fleet.Order{}}
		ctx1, cut := context.WithCancel(t.Context())
		ctx2, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r1.run(ctx1, t) })
		wg.Go(func() { r2.run(ctx2, t) })
		time.Sleep(3 * time.Minute)
		cut()
		time.Sleep(3 * time.Minute)
		if err := s.Stop(ctx2); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		if b := books(t, s); len(r1.done) == 0 || len(r2.done) == 0 || b.Missed > cameras {
			t.Errorf("one did %d, two did %d; %+v", len(r1.done), len(r2.done), b)
		}
		if rep := audit(t, s); rep.Unaccounted() != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

// TestForeign refuses outcomes of another site's cameras.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		apply(t, s, every("quick", 10*time.Second))
		lab, shop := enrol(t, s, "lab"), enrol(t, s, "shop")
		cam := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"}))
		l := must[*scheduler.Link](t)(s.Connect(t.Context(), lab.ID, "", ""))
		var order fleet.Order
		for order.Camera == 0 {
			in := must[scheduler.Instruction](t)(l.Next(t.Context()))
			if len(in.Orders) > 0 {
				order = in.Orders[0]
			}
		}
		fake := fleet.Capture{Occurrence: order.Occurrence, Outcome: fleet.Captured}
		if err := s.Complete(t.Context(), shop.ID, []fleet.Capture{fake}); err != nil {
			t.Fatal(err)
		}
		if b := books(t, s); b.Captured != 0 {
			t.Errorf("a foreign agent's outcome was taken: %+v", b)
		}
		if order.Camera != cam.ID {
			t.Errorf("order for %s", order.Camera)
		}
	})
}

func TestInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		a := enrol(t, s, "lab")
		device := func(key string, tokens ...string) fleet.Device {
			d := fleet.Device{Key: key, Name: key, Vendor: "V", Model: "M", State: fleet.DeviceOK, Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "urn:uuid:" + key}},
				Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://192.0.2.7/onvif/device_service"}}}
			for _, token := range tokens {
				d.Sources = append(d.Sources, fleet.Source{Token: token, Profiles: []fleet.Profile{{Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/" + token}}}}})
			}
			return d
		}
		tell := func(ds ...fleet.Device) []scheduler.CameraView {
			t.Helper()
			if err := s.Inventory(t.Context(), a.ID, ds); err != nil {
				t.Fatal(err)
			}
			return must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{}))
		}
		got := tell(device("epr:one"))
		if len(got) != 1 || got[0].State != fleet.Pending || got[0].Status != scheduler.StatusPending {
			t.Fatalf("%+v", got)
		}
		id := got[0].ID
		// Described: the nameless camera is the first source, the others are new.
		if got = tell(device("epr:one", "a", "b")); len(got) != 2 {
			t.Fatalf("%d cameras of a device with two sources", len(got))
		}
		i := slices.IndexFunc(got, func(v scheduler.CameraView) bool { return v.ID == id })
		if i < 0 || got[i].Source != "a" {
			t.Errorf("%+v", got)
		}
		version := got[i].Version
		if got = tell(device("epr:one", "a", "b")); got[i].Version != version {
			t.Error("telling the same again made a new version")
		}
		if err := s.SetRules(t.Context(), map[string]string{"lab": "site=lab,vendor=V"}); err != nil {
			t.Fatal(err)
		}
		if got = tell(device("epr:two", "a")); len(got) != 3 || slices.ContainsFunc(got, func(v scheduler.CameraView) bool { return v.State != fleet.Approved }) {
			t.Errorf("the rule did not approve: %+v", got)
		}
	})
}

func TestSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		a := enrol(t, s, "lab")
		must[scheduler.CredentialsView](t)(s.PutCredentials(t.Context(), scheduler.NewCredentials{Site: "lab", User: "viewer", Password: "pa ss"}))
		token := must[fleet.Secret](t)(s.CreateToken(t.Context(), "me", scheduler.RoleViewer))
		stop()
		s, stop = open(t, dir)
		defer stop()
		p := must[scheduler.Principal](t)(s.Authenticate(t.Context(), token))
		if p.Role != scheduler.RoleViewer {
			t.Errorf("%+v", p)
		}
		if _, err := s.Authenticate(t.Context(), token+"x"); !errors.Is(err, scheduler.ErrUnauthorized) {
			t.Errorf("wrong token: %v", err)
		}
		l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
		in := must[scheduler.Instruction](t)(l.Next(t.Context()))
		if in.Cameras == nil || len(in.Cameras.Site) != 1 || in.Cameras.Site[0].Password.Reveal() != "pa ss" {
			t.Errorf("%+v", in.Cameras)
		}
	})
}

// TestAuditSees plants what must never be, behind the scheduler's back: an
// outcome stored twice, one nobody asked for, and an order that vanished.
func TestAuditSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 10*time.Second))
		a := enrol(t, s, "lab")
		cam := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"}))
		l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
		var orders []fleet.Order
		for len(orders) < 2 {
			orders = append(orders, must[scheduler.Instruction](t)(l.Next(t.Context())).Orders...)
		}
		time.Sleep(30 * time.Second)
		done := fleet.Capture{Occurrence: orders[0].Occurrence, Outcome: fleet.Captured}
		if err := s.Complete(t.Context(), a.ID, []fleet.Capture{done, done}); err != nil { // twice in one report
			t.Fatal(err)
		}
		if b := books(t, s); b.Captured != 1 || b.Duplicates != 1 {
			t.Errorf("the same outcome twice in one report: %+v", b)
		}
		if rep := audit(t, s); rep.Stored != 1 || rep.Unexpected != 0 || rep.MissingOutcome != 0 {
			t.Errorf("before: %+v", rep)
		}
		stop()
		st, _, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		strange := fleet.Capture{Occurrence: fleet.Occurrence{Camera: cam.ID, Schedule: orders[0].Schedule, Nominal: orders[0].Nominal + 1}, Outcome: fleet.Captured}
		if err := errors.Join(st.Commit(t.Context(), &store.Batch{Captures: []fleet.Capture{done, strange}, Drop: []fleet.Occurrence{orders[1].Occurrence}}), st.Close()); err != nil {
			t.Fatal(err)
		}
		s, stop = open(t, dir)
		defer stop()
		if rep := audit(t, s); rep.Unexpected != 2 || rep.MissingOutcome != 1 || len(rep.Examples) != 3 {
			t.Errorf("planted three faults, the audit says %+v", rep)
		}
	})
}
