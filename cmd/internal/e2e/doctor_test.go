//go:build !race

package e2e

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func loopback() ([]net.Interface, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	return []net.Interface{*lo}, nil
}

// TestDoctor: each thing that an agent needs is looked at for real, beside an
// agent at work, and what is wrong is told with its fix.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, small("gate"))
	h.startAgent(edge.Options{})
	other := newHouse(t, small("gate"))
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = mute.Close() })
	go func() {
		for c, err := mute.Accept(); err == nil; c, err = mute.Accept() {
			_, _ = c.Write([]byte("SSH-2.0-other\r\n"))
			_ = c.Close()
		}
	}()
	agents, _ := doorsOf(t, h.town)
	door := netip.MustParseAddrPort(agents)
	closed := netip.AddrPortFrom(door.Addr(), door.Port()+1).String()
	file := filepath.Join(h.dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	mine := filepath.Join(h.dir, "agent")
	for name, c := range map[string]struct {
		opts edge.DoctorOptions
		want map[string]fleet.RungResult
		says string
	}{
		"all is well": {edge.DoctorOptions{DataDir: mine, Server: h.line.addr()}, map[string]fleet.RungResult{
			"multicast lo": fleet.RungOK, "centre": fleet.RungOK, "clock": fleet.RungOK, "disk": fleet.RungOK,
		}, "a write is safe"},
		"before it has enrolled": {edge.DoctorOptions{DataDir: t.TempDir(), Server: h.line.addr()}, map[string]fleet.RungResult{"centre": fleet.RungOK, "clock": fleet.RungOK}, "was not checked"},
		"a wrong clock": {edge.DoctorOptions{Server: h.line.addr(), Clock: func() time.Time { return time.Now().Add(-time.Hour - 30*time.Second) }},
			map[string]fleet.RungResult{"clock": fleet.RungWarning}, "1h0m"},
		"another centre": {edge.DoctorOptions{DataDir: mine, Server: other.line.addr()}, map[string]fleet.RungResult{"centre": fleet.RungFailed, "clock": fleet.RungSkipped}, "not this agent's centre"},
		"no centre":      {edge.DoctorOptions{Server: closed}, map[string]fleet.RungResult{"centre": fleet.RungFailed}, "refused"},
		"no TLS":         {edge.DoctorOptions{Server: mute.Addr().String()}, map[string]fleet.RungResult{"centre": fleet.RungFailed}, "TLS"},
		"no folder":      {edge.DoctorOptions{DataDir: file}, map[string]fleet.RungResult{"disk": fleet.RungFailed}, "make the folder"},
		"no ffmpeg":      {edge.DoctorOptions{FFmpeg: file}, map[string]fleet.RungResult{"ffmpeg": fleet.RungWarning}, "install ffmpeg"},
		"no network":     {edge.DoctorOptions{Interfaces: func() ([]net.Interface, error) { return nil, nil }}, map[string]fleet.RungResult{"multicast": fleet.RungFailed}, "connect the machine"},
	} {
		if c.opts.Interfaces == nil {
			c.opts.Interfaces = loopback
		}
		got, text := map[string]fleet.RungResult{}, ""
		told := 0
		list := edge.Doctor(t.Context(), c.opts, func(fleet.Rung) { told++ })
		for _, r := range list {
			got[r.Name] = r.Result
			text += r.Name + " " + string(r.Result) + ": " + r.Detail + " => " + r.Fix + "\n"
			if (r.Result == fleet.RungFailed || r.Result == fleet.RungWarning) != (r.Fix != "") {
				t.Errorf("%s: %+v: want a fix where something is wrong, and none elsewhere", name, r)
			}
		}
		for k, want := range c.want {
			if k == "disk" && got[k] == fleet.RungWarning && want == fleet.RungOK {
				continue // this machine's is slow or full, and that is told
			}
			if got[k] != want {
				t.Errorf("%s: %s is %q, want %q\n%s", name, k, got[k], want, text)
			}
		}
		if !strings.Contains(text, c.says) || told != len(list) {
			t.Errorf("%s: nothing says %q, or not all were told (%d of %d)\n%s", name, c.says, told, len(list), text)
		}
	}
	if s := h.edge.Stats(); !s.Line.Connected || s.Line.Links != 1 {
		t.Errorf("the agent at work was disturbed: %+v", s.Line)
	}
}
