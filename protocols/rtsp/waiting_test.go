package rtsp_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

const (
	waiting        = 500
	mostPerWaiting = 350 << 10 // bytes
	serverVariable = "SHUTTERFLEET_TEST_RTSP_SERVER"
)

// TestServeKeyless is the camera of the tests of waiting, in a process of its
// own so that its memory is not counted. It sends 5 pictures a second of 2 kB
// and no key frame until its input ends.
func TestServeKeyless(t *testing.T) {
	if os.Getenv(serverVariable) == "" {
		return // it is a part of others, and nothing by itself
	}
	n := uint16(0)
	url := start(t, &server{}, []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{
		&format.H264{PayloadTyp: 96, SPS: sps264, PPS: pps264, PacketizationMode: 1},
	}}}, func(i int) []*rtp.Packet {
		if i%40 != 0 {
			return nil
		}
		var ps []*rtp.Packet
		for j := range 2 {
			ps = append(ps, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: n, Timestamp: uint32(i * 450), Marker: j == 1},
				Payload: append([]byte{0x61, 0x9a >> j}, make([]byte, 1000)...)})
			n++
		}
		return ps
	})
	if _, err := os.Stdout.WriteString("\nat " + url + "\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
}

// keyless starts that camera and returns its address.
func keyless(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestServeKeyless$") //nolint:noctx // its input ends it
	cmd.Env = append(os.Environ(), serverVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	var said strings.Builder
	buf := make([]byte, 256)
	for {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if _, rest, ok := strings.Cut(said.String(), "\nat "); ok && strings.Contains(rest, "\n") {
			return strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0])
		}
		if err != nil {
			t.Fatalf("the camera ended: %q", said.String())
		}
	}
}

// held is what this process holds of the system's memory and in use.
func held() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// wait has n grabs wait for a key frame at once and returns the bytes that each
// of them holds. Each has had packets by then.
func wait(t testing.TB, url string, n int) uint64 {
	t.Helper()
	g := rtsp.New(newGuard(t), rtsp.Options{})
	heard := make(chan error, 2*n) // a nil from each, or why it ended
	g.OnHeard(func() { heard <- nil })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	before := held()
	for range n {
		all.Go(func() {
			deadline, stop := context.WithTimeout(ctx, 5*time.Minute)
			defer stop()
			f, err := g.Grab(deadline, fleet.Target{Device: "cam", Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: url}}})
			if err == nil {
				err = fmt.Errorf("%d bytes of a stream without key frames", len(f.Data))
			}
			heard <- err
		})
	}
	for range n {
		if err := <-heard; err != nil {
			t.Fatal(err)
		}
	}
	after := held()
	return (max(after, before) - before) / uint64(n)
}

// Waiting for key frames costs little memory, so that it overlaps by the
// thousand on small boxes.
func TestWaitingIsCheap(t *testing.T) {
	per := wait(t, keyless(t), waiting)
	t.Logf("%d B for each of %d waiting connections", per, waiting)
	if per > mostPerWaiting {
		t.Errorf("a waiting connection holds %d B, want at most %d", per, mostPerWaiting)
	}
}

// BenchmarkWaiting prints what a waiting connection holds.
func BenchmarkWaiting(b *testing.B) {
	url := keyless(b)
	per := uint64(0)
	for b.Loop() {
		per = wait(b, url, waiting)
	}
	b.ReportMetric(float64(per), "B/connection")
}
