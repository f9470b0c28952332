package scheduler_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// killedMasks names the directory in which the child process sets masks until it
// is killed.
const killedMasks = "SHUTTERFLEET_KILLED_MASKS"

// maskOfRevision is what the child sets: revision n hides as many thousandths.
func maskOfRevision(n uint64) *fleet.Mask { return hidden(float64(n) / 1000) }

// TestMaskKilledChild is the child: it says which revision was answered.
func TestMaskKilledChild(t *testing.T) {
	dir := os.Getenv(killedMasks)
	if dir == "" {
		t.Skip("runs as the child of TestMaskAnswersAreKept")
	}
	s, err := scheduler.New(t.Context(), dir, scheduler.Options{SealKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(t.Context()) //nolint:errcheck // it is killed
	id := must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{}))[0].ID
	for n := must[scheduler.MaskView](t)(s.Mask(t.Context(), id)).Revision + 1; ; n++ {
		v := must[scheduler.MaskView](t)(s.SetMask(t.Context(), scheduler.NewMask{Camera: id, Mask: maskOfRevision(n), By: fmt.Sprint("ann-", n)}))
		fmt.Println("revision", v.Revision)
	}
}

// TestMaskAnswersAreKept kills a centre that sets one mask after the other, at
// random moments: what was answered is there at the next start, and with it who
// set which mask before, and when.
func TestMaskAnswersAreKept(t *testing.T) {
	dir := t.TempDir()
	s, stop := open(t, dir)
	id := addCameras(t, s, "lab", 1)[0]
	stop()
	for range 5 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMaskKilledChild$") //nolint:gosec // it is this program
		child.Env = append(os.Environ(), killedMasks+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		answered, lines := uint64(0), bufio.NewScanner(out)
		for lines.Scan() {
			var n string
			if _, err := fmt.Sscanf(lines.Text(), "revision %s", &n); err != nil {
				continue // of the test's own
			}
			if answered, err = strconv.ParseUint(n, 10, 64); err != nil {
				t.Fatal(err)
			}
			if answered%5 == 0 {
				time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, func() { _ = child.Process.Kill() }) // what it said until then is still read
			}
		}
		_ = child.Wait() // it was killed
		if answered == 0 {
			t.Fatal("the child set no mask")
		}
		st, state, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if len(state.Masks) != 1 || state.Masks[0].Camera != id {
			t.Fatalf("%+v", state.Masks)
		}
		m := state.Masks[0]
		if m.Revision < answered || m.Revision > answered+1 || m.Shapes.Sum() != maskOfRevision(m.Revision).Sum() {
			t.Fatalf("answered was revision %d, kept is %+v", answered, m)
		}
		if uint64(len(m.Before)) != min(m.Revision-1, 64) {
			t.Fatalf("%d older masks are kept of %d", len(m.Before), m.Revision-1)
		}
		for i, c := range m.Before {
			n := m.Revision - uint64(len(m.Before)-i)
			if c.Revision != n || c.Sum != maskOfRevision(n).Sum() || c.By != fmt.Sprint("ann-", n) || c.At == 0 || c.At > m.At {
				t.Fatalf("older mask %d is %+v", n, c)
			}
		}
	}
}
