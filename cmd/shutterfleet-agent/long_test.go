//go:build long

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestLongFiftyCamerasInLittleMemory runs the built program against 50 virtual
// cameras at one frame in 10 s each, and reads its resident memory every
// second (VmRSS and VmHWM of /proc/PID/status; decoder children are apart).
func TestLongFiftyCamerasInLittleMemory(t *testing.T) {
	const cameras, every, rounds, mostMiB = 50, 10 * time.Second, 6, 48
	dir := t.TempDir()
	program := filepath.Join(dir, "shutterfleet-agent")
	build := exec.Command("go", "build", "-tags", "grpcnotrace", "-trimpath", "-ldflags", "-s -w -X main.version=measured", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	st, err := os.Stat(program)
	must(t, err)
	if st.Size() > 24<<20 {
		t.Errorf("the program has %.1f MB, want at most 24", float64(st.Size())/(1<<20))
	}
	var houses []camtest.Camera
	for n := 0; len(houses) < cameras; n++ {
		for _, c := range camtest.Street() {
			if len(houses) < cameras {
				c.Name = fmt.Sprintf("%s-%d", c.Name, n)
				houses = append(houses, c)
			}
		}
	}
	town, err := camtest.New(camtest.Options{Cameras: houses})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- town.Run(ctx) }()
	<-town.Ready()
	c, err := uplinktest.New()
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { ended <- c.Serve(ctx, ln) }()
	key := filepath.Join(dir, "key")
	must(t, os.WriteFile(key, []byte(c.Key.Text().Reveal()), 0o600))
	agent := exec.Command(program, "run", "--data", filepath.Join(dir, "data"), "--server", ln.Addr().String(), "--site-key-file", key, "--machine-listen", "127.0.0.1:0", "--log-level", "warn")
	agent.Stderr = os.Stderr
	must(t, agent.Start())
	await := func(what string, ok func(uplinktest.State) bool) uplinktest.State {
		t.Helper()
		s, err := c.Await(ctx, ok)
		if err != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		return s
	}
	await("it is connected", func(s uplinktest.State) bool { return s.Connected })
	empty, _ := memory(t, agent.Process.Pid)
	login := town.Credentials()
	list := &wire.Cameras{Version: 1, Full: true, SiteCredentials: []*wire.Credential{{User: login.User, Password: login.Password.Reveal(), Version: 1}}}
	var orders []fleet.Order
	start := fleet.At(time.Now()) + 2000
	for i, cam := range town.Cameras() {
		config := &wire.CameraConfig{Id: uint64(i + 1), Device: "epr:" + cam.EPR, Credentials: []*wire.Credential{{User: login.User, Password: login.Password.Reveal(), Version: 1}}}
		for _, e := range []struct {
			p   fleet.Protocol
			url string
		}{{fleet.Snapshot, cam.Snapshot}, {fleet.MJPEG, cam.MJPEG}, {fleet.RTSP, cam.RTSP}} {
			if e.url != "" {
				config.Endpoints = append(config.Endpoints, &wire.Endpoint{Protocol: string(e.p), Url: e.url})
			}
		}
		list.Put = append(list.Put, config)
		for r := range rounds {
			at := start.Add(time.Duration(r)*every + time.Duration(i)*every/cameras)
			orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(i + 1), Schedule: 1, Nominal: at}, Deadline: at + 9000})
		}
	}
	c.Push(&wire.Instruction{Body: &wire.Instruction_Cameras{Cameras: list}})
	c.Push(uplinktest.Orders(orders...))
	var sum, n, high, peak int
	done := make(chan struct{})
	go func() {
		defer close(done)
		await("all is captured", func(s uplinktest.State) bool { return len(s.Outcomes) == len(orders) })
	}()
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
			rss, top := memory(t, agent.Process.Pid)
			sum, n, high, peak = sum+rss, n+1, max(high, rss), top
			continue
		case <-done:
			tick.Stop()
		}
		break
	}
	causes := make(map[string]int)
	for _, o := range c.State().Outcomes {
		if o.Outcome != fleet.Captured {
			cam := town.Cameras()[o.Camera-1]
			t.Logf("%s (%v): %v(%v) %s, %v late, took %v", cam.Name, cam.Protocols, o.Outcome, o.Cause, o.Detail, o.Delay, o.Took)
		}
		causes[o.Outcome.String()+" "+string(o.Cause)+" "+string(o.Reading.Codec)]++
	}
	t.Logf("program %.1f MB; %d cameras, %d captures %v: resident memory %.1f MiB on average, %.1f MiB at most of %d samples, %.1f MiB at its peak, %.1f MiB before its first camera",
		float64(st.Size())/(1<<20), cameras, len(orders), causes, float64(sum)/float64(n)/1024, float64(high)/1024, n, float64(peak)/1024, float64(empty)/1024)
	if high > mostMiB*1024 {
		t.Errorf("resident memory %.1f MiB, want at most %d", float64(high)/1024, mostMiB)
	}
	must(t, agent.Process.Signal(syscall.SIGTERM))
	if err := agent.Wait(); err != nil {
		t.Errorf("it did not stop cleanly: %v", err)
	}
	cancel()
	for range 2 {
		must(t, <-ended)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// memory returns a process's resident memory now and at its peak, in KiB.
func memory(t testing.TB, pid int) (now, peak int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "VmRSS:":
			now, _ = strconv.Atoi(f[1])
		case len(f) > 1 && f[0] == "VmHWM:":
			peak, _ = strconv.Atoi(f[1])
		}
	}
	return now, peak
}
