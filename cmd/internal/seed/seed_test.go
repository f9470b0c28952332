package seed_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// TestWrite opens a scheduler on a seeded store: it finds the fleet, issues
// what is due within the lead, and has no span to open or close.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	p := seed.Plan{Cameras: 50, Agents: 4, Sites: 2, Every: 2 * time.Second, Lead: time.Minute, Ahead: 10 * time.Second, For: 5 * time.Second}
	out, err := seed.Write(t.Context(), dir, p)
	if err != nil {
		t.Fatal(err)
	}
	// 65 s of a task every 2 s, with any phase.
	if out.Expected < 50*32 || out.Expected > 50*33 || out.Until != out.From.Add(65*time.Second) || out.Measured != out.From.Add(5*time.Second) || out.Lead != time.Minute {
		t.Errorf("%d expected in [%s, %s), lead %v", out.Expected, out.From, out.Until, out.Lead)
	}
	pki, err := gateway.LoadPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(t.Context(), dir, scheduler.Options{SealKey: pki.Secrets})
	if err != nil {
		t.Fatal(err)
	}
	books, err := s.Books(t.Context())
	// The first comes 10 s from now, the lead is 60 s: about 50 s of orders.
	if err != nil || books.Total.InFlight < 50*20 || books.Total.InFlight != books.Total.Issued || len(books.Sites) != 2 {
		t.Errorf("%+v, %v", books, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, state, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	cameras, err := st.CountCameras(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cameras != 50 || len(state.Agents) != 4 || len(state.Sites) != 2 || len(state.Schedules) != 1 {
		t.Errorf("%d cameras, %d agents, %d sites, %d schedules", cameras, len(state.Agents), len(state.Sites), len(state.Schedules))
	}
	spans := map[fleet.CameraID]int{}
	if err := st.Spans(t.Context(), 0, out.Until, func(s store.Span) {
		if spans[s.Camera]++; s.From != out.From || s.Until != 0 {
			t.Errorf("%+v: want it open from %s on", s, out.From)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if spans[seed.Camera(i)] != 1 {
			t.Errorf("camera %d has %d spans, want 1", i, spans[seed.Camera(i)])
		}
	}

	roots, err := out.Roster.Roots()
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range out.Roster.Agents {
		cert, err := x509.ParseCertificate(id.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || cert.Subject.CommonName != string(id.Agent) || id.Site != seed.Site(i%2) {
			t.Errorf("agent %s of %s: %v", id.Agent, id.Site, err)
		}
		if _, err := id.TLS(roots); err != nil {
			t.Error(err)
		}
	}
	if _, err := seed.Write(t.Context(), dir, p); err == nil {
		t.Error("a second fleet was written over the first")
	}
}

func TestPlanRefused(t *testing.T) {
	for _, p := range []seed.Plan{
		{Cameras: -1}, {Agents: 1, Sites: 2}, {Cameras: 1, Every: time.Millisecond, For: time.Second}, // the language's least interval is 100 ms
	} {
		if _, err := seed.Write(t.Context(), t.TempDir(), p); err == nil {
			t.Errorf("%+v was written", p)
		}
	}
}
