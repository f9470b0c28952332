package scheduler_test

import (
	"testing"
	"testing/synctest"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestReplacedLogin: an agent that was away while credentials were stored anew
// may not try the old ones, though a success of another agent with the new ones
// has the refusals of the old ones forgotten; over a restart, too.
func TestReplacedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		one, two := enrol(t, s, "lab"), enrol(t, s, "lab")
		cam := addCameras(t, s, "lab", 1)[0]
		put := func(camera fleet.CameraID, password fleet.Secret) uint64 {
			t.Helper()
			return must[scheduler.CredentialsView](t)(s.PutCredentials(t.Context(), scheduler.NewCredentials{Site: "lab", Camera: camera, User: "root", Password: password})).Version
		}
		permit := uint64(0)
		ask := func(l *scheduler.Link, version uint64) error {
			t.Helper()
			permit++
			durable, err := l.AskPermit("epr:1", version, permit, false)
			if err == nil {
				err = durable(t.Context())
			}
			return err
		}
		end := func(l *scheduler.Link, version uint64, a fleet.LoginAnswer) {
			t.Helper()
			if err := l.Settled("epr:1", version, permit, a)(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		old, own := put(0, "old"), put(cam, "own")
		first := must[*scheduler.Link](t)(s.Connect(t.Context(), one.ID, "", ""))
		for range fleet.LoginTriesPerVersion {
			if err := ask(first, old); err != nil {
				t.Fatalf("a login that nobody has tried: %v", err)
			}
			end(first, old, fleet.LoginRefused)
		}
		right := put(0, "right")
		for range 2 {
			if err := ask(first, right); err != nil {
				t.Fatalf("the new login: %v", err)
			}
			end(first, right, fleet.LoginAccepted)
			second := must[*scheduler.Link](t)(s.Connect(t.Context(), two.ID, "", ""))
			if err := ask(second, old); err == nil {
				t.Error("an agent that knows the old login alone may try it")
			}
			for _, version := range []uint64{own, 0} { // the camera's own, and one that the centre did not number
				if err := ask(second, version); err != nil {
					t.Errorf("version %d: %v", version, err)
				}
				end(second, version, fleet.LoginUnused)
			}
			stop()
			s, stop = open(t, dir)
			first = must[*scheduler.Link](t)(s.Connect(t.Context(), one.ID, "", ""))
		}
		stop()
	})
}
