package scheduler_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestAblesAreKept: what an agent says that it can do outlives a power cut of the
// centre, also where a commit came between its connection and its saying so. A
// centre that comes back knows then that the agent, which is away, goes on with
// the cameras that take this, and leaves it their orders.
func TestAblesAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		able   fleet.Able
		labels map[string]string
		masked bool
		older  bool // a build that kept Masks alone wrote the store
	}{
		"masks":  {able: fleet.Able{Masks: true}, masked: true},
		"older":  {able: fleet.Able{Masks: true}, masked: true, older: true},
		"tags":   {able: fleet.Able{Tags: []string{"attic", "lab"}}, labels: map[string]string{"needs": "lab"}},
		"codecs": {able: fleet.Able{Codecs: []fleet.Codec{fleet.JPEG, fleet.H264}, Analyzers: []string{"a"}, Cores: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				apply(t, s, every("quick", 10*time.Second))
				a := enrol(t, s, "lab")
				one := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a", Labels: c.labels})).ID
				if c.masked {
					must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: one, Mask: hidden(0.5)}))
				}
				// It has been here before, with less: nothing but what it can do now
				// is new about it.
				var w watcher
				watch(t, s, a.ID, fleet.Able{}, &w)()
				l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "box", "test"))
				time.Sleep(time.Second) // a commit
				if err := s.Can(t.Context(), l, c.able); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				for {
					in, err := l.Next(ctx)
					if err != nil {
						break
					}
					l.Stored(in.Nonce)
				}
				after := filepath.Join(t.TempDir(), "after")
				if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				stop()
				if c.older {
					db := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(after, "centre.db")))
					if _, err := db.ExecContext(t.Context(), "UPDATE agents SET body = json_set(json_remove(body, '$.Able'), '$.Masks', json('true'))"); err != nil {
						t.Fatal(err)
					}
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
				}

				s, stop = open(t, after)
				defer stop()
				if got := must[[]fleet.Agent](t)(s.Agents(t.Context())); len(got) != 1 || !reflect.DeepEqual(got[0].Able, c.able) {
					t.Errorf("after a power cut the agents are %+v, want one that can %+v", got, c.able)
				}
				time.Sleep(time.Minute)
				for _, v := range allCaptures(t, s) {
					if v.Cause == fleet.CauseAgentLost {
						t.Fatalf("its orders were taken from it: %+v", v)
					}
				}
				if b := books(t, s); b.InFlight < 5 {
					t.Errorf("%+v", b)
				}
			})
		})
	}
}
