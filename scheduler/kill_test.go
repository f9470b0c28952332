//go:build long

package scheduler_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// killed names the directory in which the child process runs a scheduler until
// it is killed.
const killed = "SHUTTERFLEET_KILLED_SCHEDULER"

// TestKilledChild is the child: a scheduler with agents in the same process
// that report at once, some outcomes twice.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(killed)
	if dir == "" {
		t.Skip("runs as the child of TestLongKilledHundredTimes")
	}
	s, err := scheduler.New(t.Context(), dir, scheduler.Options{SealKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(t.Context()) //nolint:errcheck // it is killed
	agents := must[[]fleet.Agent](t)(s.Agents(t.Context()))
	for i, a := range agents {
		r := newRobot(s, a.ID)
		r.stands = i == 0
		go r.run(t.Context(), t)
		go func() {
			for range time.Tick(40 * time.Millisecond) {
				r.mu.Lock()
				again := r.done[max(0, len(r.done)-5):]
				r.mu.Unlock()
				s.Complete(t.Context(), a.ID, again) //nolint:errcheck // a repetition
			}
		}()
	}
	fmt.Println("ready")
	ids := must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{}))
	for i := 0; ; i++ { // operators change things meanwhile
		id := ids[rand.IntN(len(ids))].ID
		switch i % 5 {
		case 0:
			s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Ignored)  //nolint:errcheck // it is killed
			s.EnrolCameras(t.Context(), []fleet.CameraID{id}, fleet.Approved) //nolint:errcheck // it is killed
		case 1:
			s.CaptureNow(t.Context(), scheduler.NewJob{Cameras: []fleet.CameraID{id}}) //nolint:errcheck // it is killed
		case 2:
			s.ApplySchedules(t.Context(), []calendar.Spec{every("slow", time.Duration(2+rand.IntN(3))*time.Second)}, scheduler.ApplyOptions{}) //nolint:errcheck // it is killed
		case 3:
			s.Pause(t.Context(), scheduler.NewPause{Camera: id, Until: fleet.At(time.Now().Add(300 * time.Millisecond))}) //nolint:errcheck // it is killed
		}
		<-time.After(7 * time.Millisecond)
	}
}

// TestLongKilledHundredTimes kills the scheduler at 120 random moments while it
// issues, takes in and is changed. The books hold: each occurrence has an
// outcome or a living order, and none has two.
func TestLongKilledHundredTimes(t *testing.T) {
	dir := t.TempDir()
	s, stop := open(t, dir)
	spec := every("quick", 500*time.Millisecond)
	spec.Lead, spec.Misfire = calendar.Duration(2*time.Second), "all(max 3, within 10s)"
	apply(t, s, spec, every("slow", 3*time.Second))
	for _, site := range []fleet.SiteID{"lab", "shop"} {
		enrol(t, s, site)
		addCameras(t, s, site, 10)
	}
	stop()
	rng := rand.New(rand.NewPCG(7, 7))
	const kills = 120
	for k := range kills {
		child := exec.Command(os.Args[0], "-test.run", "^TestKilledChild$")
		child.Env = append(os.Environ(), killed+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		ready, said := make(chan bool, 1), &strings.Builder{}
		go func() {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if lines.Text() == "ready" {
					ready <- true
				} else {
					fmt.Fprintln(said, lines.Text())
				}
			}
			close(ready)
		}()
		// Every tenth is killed while it still starts.
		if k%10 != 9 && !<-ready {
			t.Fatalf("the child ended: %v\n%s", child.Wait(), said)
		}
		<-time.After(time.Duration(rng.IntN(400)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait() //nolint:errcheck // it was killed
		if k%20 == 19 || k == kills-1 {
			s, stop := open(t, dir)
			b := sound(t, s)
			t.Logf("after %d kills: %+v", k+1, b)
			stop()
			if t.Failed() {
				return
			}
		}
	}
	s, stop = open(t, dir)
	defer stop()
	var rests []func()
	for _, a := range must[[]fleet.Agent](t)(s.Agents(t.Context())) {
		rests = append(rests, work(t, newRobot(s, a.ID)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	for _, rest := range rests {
		rest()
	}
	b := sound(t, s)
	r := must[scheduler.BooksReport](t)(s.Books(t.Context()))
	var shards fleet.Books
	for _, v := range r.Shards {
		shards.Issued += v.Issued
		shards.Captured += v.Captured
	}
	if b.InFlight != 0 || b.Captured < 1000 || b.Duplicates == 0 || shards.Issued != b.Issued || shards.Captured != b.Captured {
		t.Errorf("%+v; by shard %+v", b, shards)
	}
	t.Logf("in the end: %+v", b)
}
