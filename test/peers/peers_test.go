//go:build peers

// Package peers captures from servers that this project did not write, with
// the real programs, and checks what came by its content: each peer shows the
// same picture, so each frame must decode, have the picture's size, and look
// like it by PDQ.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	inside   = "SHUTTERFLEET_PEERS_INSIDE" // set in the namespace
	hostAddr = "10.77.0.1"                 // of the namespace's own network

	width, height = 1280, 720

	// sameScene is PDQ's usual radius for a match of 256 bits.
	sameScene = 31

	// patience bounds each wait. A publisher, a server, a scheduler and an
	// agent start on two busy cores.
	patience = 90 * time.Second
)

// TestMain moves the tests into a network namespace of their own when it can:
// the agent under test searches every interface it sees, and this test's
// discovery is nobody else's business.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" && os.Getuid() == 0 {
		script := `ip link set lo up && ip link add veth0 type veth peer name veth1 &&
			ip addr add 10.77.0.1/24 dev veth0 && ip link set veth0 up && ip link set veth1 up &&
			ip route add default dev veth0 && exec "$0" "$@"`
		cmd := exec.Command("unshare", append([]string{"--net", "--mount", "sh", "-c", script}, os.Args...)...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err := cmd.Run()
		if ee, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(ee.ExitCode())
		}
		if err == nil {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "no network namespace here, running on the host's loopback:", err)
	}
	os.Exit(m.Run())
}

func TestCaptureFromPeers(t *testing.T) {
	p := newPeers(t)
	p.mediamtx()
	p.avahi("/cam")
	p.go2rtc()
	p.lighttpd()

	c := startCentre(t)
	c.startAgent("lab")
	secret := c.file("password", "pa ss:w@rd/1")
	plain := c.file("viewer", "viewer-pass")
	cameras := map[string]string{
		"mediamtx, RTSP H.264, digest, TCP only": c.add("rtsp://"+p.mediamtxAddr+"/cam", "viewer", plain),
		"go2rtc, RTSP H.264, no login":           c.add("rtsp://"+p.go2rtcRTSP+"/cam", "", ""),
		"go2rtc, ONVIF":                          c.add("http://"+p.go2rtcHTTP+"/onvif/device_service", "", ""),
		"lighttpd, JPEG snapshot, HTTP digest":   c.add("http://"+p.lighttpdAddr+"/digest/snapshot.jpg", "viewer", secret),
		"lighttpd, JPEG snapshot, open":          c.add("http://"+p.lighttpdAddr+"/open/snapshot.jpg", "", ""),
	}
	c.run("schedules", "apply", "-f", c.file("schedules.yaml", "schedules:\n  - {name: peers, select: \"*\", every: 2s, lead: 1s, deadline: 10s}\n"))

	for name, id := range cameras {
		t.Run(name, func(t *testing.T) {
			got := c.waitCaptured(t, id)
			if got.Width != width || got.Height != height {
				t.Errorf("the frame is %dx%d, want %dx%d", got.Width, got.Height, width, height)
			}
			if d := distance(got.Fingerprint.PDQ, p.picture); d > sameScene {
				t.Errorf("PDQ is %d bits from the picture that the peer shows, want <= %d", d, sameScene)
			}
			if got.Fingerprint.PDQQuality < 50 {
				t.Errorf("PDQ quality %d, want >= 50", got.Fingerprint.PDQQuality)
			}
		})
	}

	t.Run("avahi: found by mDNS, approved, captured", func(t *testing.T) {
		if !p.announced {
			t.Fatal("avahi-daemon needs a network namespace of its own: run as root")
		}
		var id string
		c.wait(t, "a pending camera that avahi announces", func() bool {
			var all []camera
			c.json(t, &all, "cameras", "ls", "--state", "pending")
			for _, cam := range all {
				if slices.Contains(cam.Via, "mdns") && slices.Contains(cam.Addresses, hostAddr) {
					id = cam.ID
				}
			}
			return id != ""
		})
		c.run("creds", "put", "--site", "lab", "--camera", id, "--user", "viewer", "--password-file", plain)
		c.run("cameras", "approve", id)
		got := c.waitCaptured(t, id)
		if d := distance(got.Fingerprint.PDQ, p.picture); d > sameScene || got.Width != width {
			t.Errorf("PDQ is %d bits from the picture, %d pixels wide", d, got.Width)
		}
	})

	t.Run("wrong password is named, and tried twice at most", func(t *testing.T) {
		before := p.lighttpdRefusals()
		id := c.add("http://"+p.lighttpdAddr+"/digest/snapshot.jpg?wrong", "viewer", c.file("wrong", "not it"))
		c.wait(t, "a failure that names the credentials", func() bool {
			// Not the last of them: soon the budget is used up, and that is told.
			return slices.ContainsFunc(c.captures(t, id), func(s shot) bool { return s.Cause == string(fleet.CauseUnauthorized) })
		})
		c.wait(t, "five more occurrences", func() bool { return len(c.captures(t, id)) >= 6 })
		if n := p.lighttpdRefusals() - before; n > 2 {
			t.Errorf("%d refused logins, want at most 2 for one version of the credentials", n)
		}
	})
}

func distance(a, b fleet.PDQ) (d int) {
	for i := range a {
		d += bits.OnesCount8(a[i] ^ b[i])
	}
	return d
}

// --- the peers ---------------------------------------------------------------

type peers struct {
	t            *testing.T
	dir          string
	picture      fleet.PDQ
	mediamtxAddr string
	go2rtcRTSP   string
	go2rtcHTTP   string
	lighttpdAddr string
	announced    bool // avahi announces mediamtx's stream on hostAddr
}

func newPeers(t *testing.T) *peers {
	p := &peers{t: t, dir: t.TempDir()}
	for name, args := range map[string]string{"picture.png": "", "snapshot.jpg": "-q:v 2"} {
		args := append([]string{"-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("mandelbrot=size=%dx%d:start_scale=0.02", width, height), "-frames:v", "1", "-pix_fmt", map[bool]string{true: "rgb24", false: "yuvj420p"}[args == ""]}, strings.Fields(args)...)
		if out, err := exec.Command("ffmpeg", append(args, filepath.Join(p.dir, name))...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg: %v\n%s", err, out)
		}
	}
	out, err := exec.Command(program(t, "shutterfleet"), "fingerprint", "-o", "json", filepath.Join(p.dir, "picture.png")).Output()
	if err != nil {
		t.Fatalf("fingerprint of the picture: %v", err)
	}
	var res []struct{ PDQ fleet.PDQ }
	if err := json.Unmarshal(out, &res); err != nil || len(res) != 1 {
		t.Fatalf("fingerprint of the picture: %v\n%s", err, out)
	}
	p.picture = res[0].PDQ
	return p
}

// mediamtx speaks RTSP with digest logins, over TCP only, fed by ffmpeg.
func (p *peers) mediamtx() {
	p.mediamtxAddr = p.mediamtxWith("tcp", "[tcp]", "{}")
	p.publish(p.mediamtxAddr, "tcp")
}

// mediamtxWith starts a mediamtx with digest logins that speaks the given
// transports; path is the configuration of all its paths.
func (p *peers) mediamtxWith(name, transports, path string) (addr string) {
	addr = freeAddr(p.t)
	_, port, err := net.SplitHostPort(addr)
	must(p.t, err)
	rtp := freePair(p.t)
	conf := filepath.Join(p.dir, "mediamtx-"+name+".yml")
	write(p.t, conf, fmt.Sprintf(`
logLevel: warn
rtspAddress: %s
rtspTransports: %s
rtpAddress: :%d
rtcpAddress: :%d
rtspAuthMethods: [digest]
rtmp: no
hls: no
webrtc: no
srt: no
authInternalUsers:
  - {user: publisher, pass: publish, permissions: [{action: publish}]}
  - {user: viewer, pass: viewer-pass, permissions: [{action: read}]}
paths: {all_others: %s}
`, ":"+port, transports, rtp, rtp+1, path)) // on every address: avahi announces another than loopback
	start(p.t, "mediamtx, "+name, peer(p.t, "mediamtx"), conf)
	listening(p.t, addr)
	return addr
}

// publish has ffmpeg show the picture to a server, ten times a second.
func (p *peers) publish(addr, transport string) {
	start(p.t, "publisher to "+addr, "ffmpeg", "-v", "error", "-nostdin", "-re", "-loop", "1", "-framerate", "10",
		"-i", filepath.Join(p.dir, "picture.png"), "-c:v", "libx264", "-profile:v", "high", "-pix_fmt", "yuv420p",
		"-preset", "veryfast", "-crf", "32", "-g", "10", "-f", "rtsp", "-rtsp_transport", transport,
		"rtsp://publisher:publish@"+addr+"/cam")
}

// avahi announces mediamtx's stream by mDNS on the namespace's own network, with
// one instance for each path. The services it reads lie in a fixed folder: ours
// is mounted over it, which only this namespace sees.
func (p *peers) avahi(paths ...string) {
	if os.Getenv(inside) == "" {
		return
	}
	_, port, err := net.SplitHostPort(p.mediamtxAddr)
	must(p.t, err)
	services := filepath.Join(p.dir, "services")
	must(p.t, os.MkdirAll(services, 0o755))
	for i, path := range paths {
		file := filepath.Join(services, fmt.Sprintf("camera%d.service", i))
		write(p.t, file, fmt.Sprintf(`<?xml version="1.0" standalone='no'?><!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name>stable door %d</name><service><type>_rtsp._tcp</type><port>%s</port><txt-record>path=%s</txt-record></service></service-group>`, i+1, port, path))
		must(p.t, os.Chmod(file, 0o644))
	}
	must(p.t, os.Chmod(services, 0o755))
	if out, err := exec.Command("sh", "-c", `mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && mount --bind "$0" /etc/avahi/services`, services).CombinedOutput(); err != nil {
		p.t.Fatalf("mount avahi's services: %v\n%s", err, out)
	}
	p.t.Cleanup(func() {
		if out, err := exec.Command("umount", "/etc/avahi/services", "/run/avahi-daemon").CombinedOutput(); err != nil {
			p.t.Errorf("umount: %v\n%s", err, out)
		}
	})
	conf := filepath.Join(p.dir, "avahi.conf")
	write(p.t, conf, "[server]\nhost-name=stable\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces=veth0\nenable-dbus=no\n[wide-area]\nenable-wide-area=no\n[publish]\npublish-workstation=no\n[rlimits]\n")
	start(p.t, "avahi-daemon", "avahi-daemon", "-f", conf, "--no-drop-root", "--no-chroot", "--no-rlimits")
	p.announced = true
}

// go2rtc takes mediamtx's stream and serves it again, with ONVIF beside it.
func (p *peers) go2rtc() {
	p.go2rtcRTSP, p.go2rtcHTTP = freeAddr(p.t), freeAddr(p.t)
	conf := filepath.Join(p.dir, "go2rtc.yaml")
	write(p.t, conf, fmt.Sprintf(`
log: {level: warn}
api: {listen: "%s"}
rtsp: {listen: "%s"}
webrtc: {listen: ""}
streams:
  cam: rtsp://viewer:viewer-pass@%s/cam
`, p.go2rtcHTTP, p.go2rtcRTSP, p.mediamtxAddr))
	start(p.t, "go2rtc", peer(p.t, "go2rtc"), "-config", conf)
	listening(p.t, p.go2rtcRTSP)
	listening(p.t, p.go2rtcHTTP)
}

// lighttpd serves the picture, once openly and once behind HTTP digest.
func (p *peers) lighttpd() {
	p.lighttpdAddr = freeAddr(p.t)
	for _, d := range []string{"open", "digest"} {
		must(p.t, os.MkdirAll(filepath.Join(p.dir, "www", d), 0o755))
		data, err := os.ReadFile(filepath.Join(p.dir, "snapshot.jpg"))
		must(p.t, err)
		write(p.t, filepath.Join(p.dir, "www", d, "snapshot.jpg"), string(data))
	}
	ha1 := fmt.Sprintf("%x", md5sum("viewer:cameras:pa ss:w@rd/1"))
	write(p.t, filepath.Join(p.dir, "htdigest"), "viewer:cameras:"+ha1+"\n")
	_, port, err := net.SplitHostPort(p.lighttpdAddr)
	must(p.t, err)
	conf := filepath.Join(p.dir, "lighttpd.conf")
	write(p.t, conf, fmt.Sprintf(`
server.modules = ("mod_auth", "mod_authn_file", "mod_accesslog")
server.document-root = "%[1]s/www"
server.bind = "127.0.0.1"
server.port = %[2]s
accesslog.filename = "%[1]s/access.log"
accesslog.format = "%%s %%{Authorization}i"
mimetype.assign = (".jpg" => "image/jpeg")
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "%[1]s/htdigest"
auth.require = ("/digest/" => ("method" => "digest", "realm" => "cameras", "require" => "valid-user"))
`, p.dir, port))
	start(p.t, "lighttpd", "lighttpd", "-D", "-f", conf)
	listening(p.t, p.lighttpdAddr)
}

// lighttpdRefusals counts requests that carried credentials and were refused.
func (p *peers) lighttpdRefusals() (n int) {
	data, err := os.ReadFile(filepath.Join(p.dir, "access.log"))
	must(p.t, err)
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "401 Digest") {
			n++
		}
	}
	return n
}

// --- the programs under test ---------------------------------------------------

type centre struct {
	t             *testing.T
	dir           string
	admin, agents string
}

func startCentre(t *testing.T) *centre {
	c := &centre{t: t, dir: t.TempDir(), admin: freeAddr(t), agents: freeAddr(t)}
	start(t, "scheduler", program(t, "shutterfleet"), "scheduler", "--data", c.data("centre"),
		"--agents-listen", c.agents, "--admin-listen", c.admin, "--machine-listen", freeAddr(t))
	listening(t, c.admin)
	listening(t, c.agents)
	return c
}

func (c *centre) startAgent(site string) {
	var key struct{ Key string }
	c.json(c.t, &key, "keys", "create", "--site", site, "--count", "1")
	start(c.t, "agent", program(c.t, "shutterfleet-agent"), "run", "--data", c.data("agent"),
		"--server", c.agents, "--site-key-file", c.file("site.key", key.Key), "--machine-listen", freeAddr(c.t))
}

func (c *centre) data(name string) string { return filepath.Join(c.dir, name) }

func (c *centre) file(name, text string) string {
	f := filepath.Join(c.dir, name)
	write(c.t, f, text)
	return f
}

// run runs one of the operator's verbs and returns what it prints.
func (c *centre) run(args ...string) []byte {
	cmd := exec.Command(program(c.t, "shutterfleet"), args...)
	cmd.Env = append(os.Environ(), "SHUTTERFLEET_SERVER=http://"+c.admin, "SHUTTERFLEET_TOKEN_FILE="+c.data("centre")+"/admin.token")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("shutterfleet %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func (c *centre) json(t *testing.T, into any, args ...string) {
	t.Helper()
	out := c.run(append(args, "-o", "json")...)
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("shutterfleet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (c *centre) add(url, user, passwordFile string) string {
	args := []string{"cameras", "add", "--site", "lab", "--url", url}
	if user != "" {
		args = append(args, "--user", user, "--password-file", passwordFile)
	}
	var cam camera
	c.json(c.t, &cam, args...)
	if cam.ID == "" {
		c.t.Fatalf("cameras add %s printed no id", url)
	}
	return cam.ID
}

type camera struct {
	ID        string
	State     string
	Via       []string `json:"found_by"`
	Vendor    string
	Model     string
	Addresses []string
	Last      *struct {
		Outcome string
		Cause   fleet.Cause
	} `json:"last_capture"`
}

type shot struct {
	Camera      string
	Outcome     string
	Cause       string
	Detail      string
	Width       int
	Height      int
	Fingerprint struct {
		PDQ        fleet.PDQ
		PDQQuality int `json:"pdq_quality"`
	}
}

func (c *centre) camera(t *testing.T, id string) camera {
	t.Helper()
	var all []camera
	c.json(t, &all, "cameras", "ls")
	for _, cam := range all {
		if cam.ID == id {
			return cam
		}
	}
	t.Fatalf("camera %s is not in `cameras ls`", id)
	return camera{}
}

func (c *centre) captures(t *testing.T, id string) (out []shot) {
	t.Helper()
	c.json(t, &out, "captures", "ls", "--camera", id, "--limit", "500")
	return out
}

func (c *centre) waitCaptured(t *testing.T, id string) (got shot) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("last seen: %s", last)
		}
	}()
	c.wait(t, "a frame", func() bool {
		for _, s := range c.captures(t, id) {
			last = fmt.Sprintf("%+v", s)
			if s.Outcome == "captured" {
				got = s
				return true
			}
		}
		return false
	})
	return got
}

func (c *centre) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for give := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-give:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// --- processes -----------------------------------------------------------------

func program(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("SHUTTERFLEET_BIN")
	if dir == "" {
		t.Fatal("SHUTTERFLEET_BIN is not set: run `make test-peers`")
	}
	return filepath.Join(dir, name)
}

func peer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("SHUTTERFLEET_PEERS")
	if dir == "" {
		t.Fatal("SHUTTERFLEET_PEERS is not set: run `make test-peers`")
	}
	return filepath.Join(dir, name)
}

// start runs a program until the test ends, and shows its output if it failed.
func start(t *testing.T, name, path string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		cancel()
		err := cmd.Wait()
		if t.Failed() {
			t.Logf("%s ended (%v); its last output:\n%s", name, err, out)
		}
	})
}

// tail keeps the last 16 kB written to it.
type tail struct{ b []byte }

func (w *tail) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	w.b = w.b[max(0, len(w.b)-16<<10):]
	return len(p), nil
}

func (w *tail) String() string { return string(w.b) }

// freePort returns a port that was free a moment ago, below those that the
// kernel gives to connections (from 32768 on): none of a program's own takes it
// before its server does. pair asks for an even one.
func freePort(t *testing.T, pair bool, free func(port int) bool) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if pair {
			port &^= 1
		}
		if free(port) {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t, false, func(port int) bool {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)) // some listen on every address
		if err == nil {
			must(t, l.Close())
		}
		return err == nil
	}))
}

// freePair returns an even port of UDP that was free a moment ago, as was the
// next: RTP and RTCP want such a pair.
func freePair(t *testing.T) int {
	t.Helper()
	return freePort(t, true, func(port int) bool {
		a, errA := net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		b, errB := net.ListenPacket("udp4", fmt.Sprintf(":%d", port+1))
		for _, c := range []net.PacketConn{a, b} {
			if c != nil {
				must(t, c.Close())
			}
		}
		return errA == nil && errB == nil
	})
}

// listening waits until something accepts connections at addr.
func listening(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for give := time.After(patience); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			must(t, conn.Close())
			return
		}
		select {
		case <-tick.C:
		case <-give:
			t.Fatalf("nothing listens at %s after %v: %v", addr, patience, err)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var _ io.Writer = (*tail)(nil)
