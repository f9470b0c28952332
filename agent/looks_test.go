package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// lens photographs one virtual camera, whose clock the test sets.
type lens struct {
	t    *testing.T
	town *camtest.Town
	url  string
	now  time.Time

	turned  bool // to the left, and a little up
	covered int  // so many of its 512 columns, with a pale cloth
}

func newLens(t *testing.T, scene camtest.Scene) *lens {
	t.Helper()
	l := &lens{t: t, now: time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)}
	var err error
	l.town, err = camtest.New(camtest.Options{NoDiscovery: true, Now: func() time.Time { return l.now }, Cameras: []camtest.Camera{
		{Name: "a", Scene: scene, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true, Width: 640, Height: 360},
	}})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.town.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-ended) })
	<-l.town.Ready()
	info, _ := l.town.Camera("a")
	l.url = info.Snapshot
	return l
}

// frame is the picture of a minute later.
func (l *lens) frame() fleet.Frame {
	l.t.Helper()
	l.now = l.now.Add(time.Minute)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(l.url)
	must(l.t, err)
	b, err := io.ReadAll(res.Body)
	must(l.t, err)
	must(l.t, res.Body.Close())
	return fleet.Frame{Data: l.cut(b), Codec: fleet.JPEG, At: l.now}
}

// cut is what the lens shows of the whole picture: 512x288 of it.
func (l *lens) cut(whole []byte) []byte {
	l.t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(whole))
	must(l.t, err)
	at := image.Pt(80, 48)
	if l.turned {
		at = image.Pt(16, 24)
	}
	out := image.NewRGBA(image.Rect(0, 0, 512, 288))
	draw.Draw(out, out.Bounds(), m, at, draw.Src)
	if l.covered > 0 {
		grain := rand.New(rand.NewPCG(1, uint64(l.now.Unix())))
		for y := range 288 {
			for x := range l.covered {
				v := uint8(120 + x/18 + grain.IntN(24))
				out.Set(x, y, color.RGBA{v, v, v, 255})
			}
		}
	}
	var b bytes.Buffer
	must(l.t, jpeg.Encode(&b, out, nil))
	return b.Bytes()
}

// set switches a fault on or off: those of the lens here, others in the camera.
func (l *lens) set(f fleet.Fault, on bool) {
	l.t.Helper()
	switch f {
	case fleet.FaultMoved:
		l.turned = on
	case fleet.FaultCovered:
		l.covered = 0
		if on {
			l.covered = 460
		}
	default:
		must(l.t, l.town.SetFault("a", camtest.Fault(f), on))
	}
}

func openNotes(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}})
	must(t, err)
	return s
}

// see judges a frame and keeps it.
func see(t *testing.T, l *agent.Looks, f fleet.Frame) fleet.Verdict {
	t.Helper()
	r, keep, err := l.Judge(t.Context(), 1, f)
	must(t, err)
	if keep != nil {
		keep()
	}
	return r.Verdict
}

// still is a LookReader without decoding: a frame's first eight bytes say its
// scene and the rest what differs from frame to frame.
type still struct {
	mu sync.Mutex
	at []time.Time
}

func (s *still) ReadJudged(_ context.Context, f fleet.Frame, _ *fleet.Mask, judge capture.Judge) (fleet.Reading, error) {
	s.mu.Lock()
	s.at = append(s.at, f.At)
	s.mu.Unlock()
	r := fleet.Reading{SHA256: sha256.Sum256(f.Data)}
	scene := rand.New(rand.NewPCG(binary.BigEndian.Uint64(f.Data), 1))
	change := rand.New(rand.NewPCG(binary.BigEndian.Uint64(f.Data), binary.BigEndian.Uint64(f.Data[8:])))
	var g codec.Grid
	for i := range g.Pix {
		g.Pix[i] = float32(60 + scene.IntN(120) + change.IntN(3))
	}
	scores := quality.Scores{Quality: fleet.Quality{Mean: 120, Contrast: 40, Entropy: 7}, Tenengrad: 4000, Noise: 2}
	for i := range scores.Edges {
		scores.Edges[i] = 0.2
	}
	r.Verdict = judge(&r, quality.Sample{Scores: &scores, Grid: &g, At: f.At})
	return r, nil
}

func shotOf(scene, change uint64, at time.Time) fleet.Frame {
	return fleet.Frame{Data: binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, scene), change), At: at}
}

// slips are Notes in memory that count.
type slips struct {
	mu         sync.Mutex
	notes      map[string][]byte
	read, made int
	synced     int
}

func (s *slips) Note(t store.Topic, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	return s.notes[string(t)+key], nil
}

func (s *slips) SetNote(t store.Topic, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	if s.notes == nil {
		s.notes = map[string][]byte{}
	}
	s.notes[string(t)+key] = body
}

func (s *slips) Sync(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced++
	return nil
}

func judged(t *testing.T, l *agent.Looks, c fleet.CameraID, f fleet.Frame) (fleet.Verdict, func()) {
	t.Helper()
	r, keep, err := l.Judge(t.Context(), c, f)
	must(t, err)
	return r.Verdict, keep
}

// TestLooksAreNotedNowAndThen: six times an hour each, and what is left over at
// the end.
func TestLooksAreNotedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &slips{}
		l := agent.NewLooks(&still{}, notes, agent.LooksOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		const cameras = 3
		time.Sleep(time.Second)
		for n := range uint64(120) { // an hour
			for c := range fleet.CameraID(cameras) {
				_, keep := judged(t, l, c, shotOf(uint64(c), n, time.Now()))
				keep()
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		if notes.made < 5*cameras || notes.made > 6*cameras || notes.read != cameras {
			t.Errorf("in an hour %d cameras were noted %d times and read %d times", cameras, notes.made, notes.read)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		before := notes.made
		_, keep := judged(t, l, 1, shotOf(1, 1000, time.Now()))
		keep()
		l.Save()
		l.Save() // nothing is left
		if n := notes.made - before; n < 1 || n > cameras {
			t.Errorf("%d notes at the end", n)
		}
	})
}

// TestLooksAreBounded: beyond the bound a camera gives up its place and is found
// again.
func TestLooksAreBounded(t *testing.T) {
	notes := &slips{}
	l := agent.NewLooks(&still{}, notes, agent.LooksOptions{Cameras: 2})
	now := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	for n := range uint64(20) {
		for c := range fleet.CameraID(5) {
			v, keep := judged(t, l, c, shotOf(uint64(c), n, now.Add(time.Duration(n)*time.Minute)))
			keep()
			if v.Fault != fleet.FaultNone || v.Learning != (n < 16) {
				t.Fatalf("frame %d of camera %s: %+v", n, c, v)
			}
		}
	}
	if notes.read != 100 || notes.made != 98 { // each time another one's place, but the last two are still there
		t.Errorf("%d read, %d made", notes.read, notes.made)
	}
	// A frame that is kept after its camera gave up its place is as if it had not been.
	_, keep := judged(t, l, 0, shotOf(0, 100, now.Add(time.Hour)))
	judged(t, l, 1, shotOf(1, 100, now.Add(time.Hour)))
	judged(t, l, 2, shotOf(2, 100, now.Add(time.Hour)))
	made := notes.made
	keep()
	if l.Save(); notes.made != made {
		t.Errorf("a camera without a place was noted")
	}
}

// TestOnlyWhatCountsTeaches: of the frames that a retake takes each is judged by
// what was known before, and one is remembered.
func TestOnlyWhatCountsTeaches(t *testing.T) {
	l := agent.NewLooks(&still{}, &slips{}, agent.LooksOptions{})
	now := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	for n := range uint64(16) {
		now = now.Add(time.Minute)
		_, keep := judged(t, l, 1, shotOf(1, n, now))
		for again := range uint64(3) {
			judged(t, l, 1, shotOf(1, 1000*(again+1)+n, now.Add(time.Duration(again+1)*300*time.Millisecond)))
		}
		keep()
	}
	now = now.Add(time.Minute)
	if v, _ := judged(t, l, 1, shotOf(1, 50, now)); v.Learning {
		t.Errorf("16 frames were not enough: %+v", v)
	}
	// The same bytes again at once are the same shot, a minute later a picture
	// that stands still.
	_, keep := judged(t, l, 1, shotOf(1, 51, now))
	keep()
	if v, again := judged(t, l, 1, shotOf(1, 51, now.Add(time.Second))); v.Fault != fleet.FaultNone || again != nil {
		t.Errorf("the same shot: %+v", v)
	}
	v, late := judged(t, l, 1, shotOf(1, 51, now.Add(time.Minute)))
	if v.Fault != fleet.FaultFrozen {
		t.Errorf("it stands still: %+v", v)
	}
	// What was judged before an operator accepted the camera's looks changes
	// nothing of them.
	_, err := l.Relearn(t.Context(), 1)
	must(t, err)
	late()
	if v, _ := judged(t, l, 1, shotOf(1, 52, now.Add(2*time.Minute))); !v.Learning {
		t.Errorf("after relearning: %+v", v)
	}
}

// TestClockSetBack: a camera goes on being learned when the box's clock, which
// had been a year ahead, is set.
func TestClockSetBack(t *testing.T) {
	l := agent.NewLooks(&still{}, &slips{}, agent.LooksOptions{})
	now := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	for n := range uint64(16) {
		if n == 8 {
			now = now.AddDate(-1, 0, 0)
		}
		now = now.Add(time.Minute)
		_, keep := judged(t, l, 1, shotOf(1, n, now))
		keep()
	}
	if v, _ := judged(t, l, 1, shotOf(1, 50, now.Add(time.Minute))); v.Learning {
		t.Errorf("16 frames were not enough: %+v", v)
	}
}

// TestLooksGoByTheCamerasHours: its zone when it is known, else UTC.
func TestLooksGoByTheCamerasHours(t *testing.T) {
	s := &still{}
	l := agent.NewLooks(s, &slips{}, agent.LooksOptions{})
	l.SetZones(map[fleet.CameraID]*time.Location{2: time.FixedZone("there", 5*3600)})
	at := time.Date(2027, 3, 1, 21, 0, 0, 0, time.FixedZone("box", -3600))
	for c, hour := range map[fleet.CameraID]int{1: 22, 2: 3} {
		judged(t, l, c, shotOf(1, 1, at))
		if got := s.at[len(s.at)-1]; got.Hour() != hour || !got.Equal(at) {
			t.Errorf("camera %s was judged at %v, want hour %d", c, got, hour)
		}
	}
}

// TestLooksServeManyAtOnce: more cameras than there are places, in several
// goroutines, beside saving and relearning.
func TestLooksServeManyAtOnce(t *testing.T) {
	notes := &slips{}
	l := agent.NewLooks(&still{}, notes, agent.LooksOptions{Cameras: 3})
	began := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	var g errgroup.Group
	for worker := range uint64(4) {
		g.Go(func() error {
			for n := range uint64(60) {
				c := fleet.CameraID((n + worker) % 5)
				r, keep, err := l.Judge(t.Context(), c, shotOf(uint64(c), worker<<32|n, began.Add(time.Duration(n)*time.Minute)))
				if err != nil {
					return err
				}
				if r.Verdict.Fault != fleet.FaultNone {
					return fmt.Errorf("frame %d of camera %s: %+v", n, c, r.Verdict)
				}
				if keep != nil {
					keep()
				}
				switch n % 20 {
				case 7:
					l.Save()
				case 13:
					if _, err := l.Relearn(t.Context(), c); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	must(t, g.Wait())
	l.Save()
	for c := range fleet.CameraID(5) {
		var s quality.State
		if err := s.UnmarshalBinary(notes.notes[string(store.Looks)+c.String()]); err != nil {
			t.Errorf("the note of camera %s: %v", c, err)
		}
	}
	if notes.synced != 12 {
		t.Errorf("%d relearnings were made durable, want 12", notes.synced)
	}
}

// TestUnreadableLooks: a note of another build is learned anew.
func TestUnreadableLooks(t *testing.T) {
	notes := &slips{}
	notes.SetNote(store.Looks, fleet.CameraID(1).String(), bytes.Repeat([]byte{9}, 100))
	l := agent.NewLooks(&still{}, notes, agent.LooksOptions{})
	if v, _ := judged(t, l, 1, shotOf(1, 1, time.Now())); v.Fault != fleet.FaultNone || !v.Learning {
		t.Errorf("%+v", v)
	}
}

// TestLooksOfTheVersionBefore: what an agent noted before an update is read after
// it, with a mask and without.
func TestLooksOfTheVersionBefore(t *testing.T) {
	half := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}}
	for name, mask := range map[string]*fleet.Mask{"no mask": nil, "a mask": half} {
		notes := &slips{}
		looks := func() *agent.Looks {
			return agent.NewLooks(&still{}, notes, agent.LooksOptions{Masks: func(fleet.CameraID) (*fleet.Mask, error) { return mask, nil }})
		}
		l, now := looks(), time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
		for n := range uint64(20) {
			now = now.Add(time.Minute)
			_, keep := judged(t, l, 1, shotOf(1, n, now))
			keep()
		}
		l.Save()
		key := fleet.CameraID(1).String()
		note, err := notes.Note(store.Looks, key)
		if err != nil {
			t.Fatal(err)
		}
		note = slices.Delete(slices.Clone(note), 18, 26) // it had no spans
		note[0] = 2
		notes.SetNote(store.Looks, key, note)
		if v, _ := judged(t, looks(), 1, shotOf(1, 99, now.Add(time.Minute))); v.Learning {
			t.Errorf("%s: it is learned anew", name)
		}
	}
}

// TestLooksMemory: a camera's looks take 14 kB.
func TestLooksMemory(t *testing.T) {
	const cameras = 1000
	l := agent.NewLooks(&still{}, &slips{}, agent.LooksOptions{})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools survive one
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for c := range fleet.CameraID(cameras) {
		_, keep := judged(t, l, c, shotOf(uint64(c), 1, time.Now()))
		keep()
	}
	per := (heap() - before) / cameras
	runtime.KeepAlive(l)
	t.Logf("%d B per camera, of these %d of state", per, quality.StateBytes)
	if per > 14<<10 {
		t.Errorf("a camera takes %d bytes", per)
	}
}

// BenchmarkLooks is what judging adds to a frame.
func BenchmarkLooks(b *testing.B) {
	reader, err := capture.New(capture.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var data [16][]byte
	for i := range data {
		data[i] = drawn(b, uint64(i))
	}
	l := agent.NewLooks(reader, &slips{}, agent.LooksOptions{})
	at := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	n := 0
	frame := func() fleet.Frame {
		n++
		return fleet.Frame{Data: data[n%len(data)], Codec: fleet.JPEG, At: at.Add(time.Duration(n) * time.Minute)}
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reader.Read(b.Context(), frame()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("judged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, keep, err := l.Judge(b.Context(), 1, frame())
			if err != nil {
				b.Fatal(err)
			}
			keep()
		}
	})
	s := &shown{}
	for _, d := range data {
		_, err := reader.ReadJudged(b.Context(), fleet.Frame{Data: d, Codec: fleet.JPEG}, nil, func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
			grid, scores := *x.Grid, *x.Scores
			s.samples = append(s.samples, quality.Sample{Grid: &grid, Scores: &scores})
			return fleet.Verdict{}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	l = agent.NewLooks(s, &slips{}, agent.LooksOptions{})
	b.Run("judging alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, keep, err := l.Judge(b.Context(), 1, frame())
			if err != nil {
				b.Fatal(err)
			}
			keep()
		}
	})
}

// shown is a LookReader that shows the same few samples.
type shown struct {
	samples []quality.Sample
	n       int
}

func (s *shown) ReadJudged(_ context.Context, f fleet.Frame, _ *fleet.Mask, judge capture.Judge) (r fleet.Reading, _ error) {
	s.n++
	x := s.samples[s.n%len(s.samples)]
	x.At, r.SHA256[0] = f.At, byte(s.n)
	r.Verdict = judge(&r, x)
	return r, nil
}

// drawn is a JPEG of 1920x1080.
func drawn(b *testing.B, seed uint64) []byte {
	b.Helper()
	r := rand.New(rand.NewPCG(7, seed))
	m := image.NewGray(image.Rect(0, 0, 1920, 1080))
	for y := range 1080 {
		for x := range 1920 {
			m.Pix[y*1920+x] = uint8((x/60*37+y/60*91)%200 + 20 + r.IntN(6))
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, nil); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}
