package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/shutterfleet/shutterfleet/cmd/internal/centre"
	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// The environment of a process that a test runs.
const (
	envRole   = "SHUTTERFLEET_E2E_ROLE"
	envDir    = "SHUTTERFLEET_E2E_DIR"
	envAgents = "SHUTTERFLEET_E2E_AGENTS"
	envAdmin  = "SHUTTERFLEET_E2E_ADMIN"
)

func TestMain(m *testing.M) {
	roles := map[string]func() error{"centre": runCentre, "agent": runAgent}
	if run, ok := roles[os.Getenv(envRole)]; ok {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, os.Getenv(envRole)+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// These tests wait much more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// runCentre is a centre that loses one acknowledgement in twenty.
func runCentre() error {
	dir := os.Getenv(envDir)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c, err := centre.New(context.Background(), centre.Options{
		DataDir: filepath.Join(dir, "centre"), AgentsListen: os.Getenv(envAgents), AdminListen: os.Getenv(envAdmin), Log: log,
		DropAck: func() bool { return rand.IntN(20) == 0 },
	})
	if err != nil {
		return err
	}
	key := filepath.Join(dir, "site.key")
	if _, err := os.Stat(key); errors.Is(err, os.ErrNotExist) {
		text, err := c.CreateKey(context.Background(), scheduler.NewKey{Site: "lab", Approve: true})
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(key+".new", []byte(text.Reveal()), 0o600), os.Rename(key+".new", key)); err != nil {
			return err
		}
	}
	return c.Run(context.Background())
}

func runAgent() error {
	dir := os.Getenv(envDir)
	key, err := os.ReadFile(filepath.Join(dir, "site.key"))
	if err != nil {
		return err
	}
	e, err := edge.New(edge.Options{
		DataDir: filepath.Join(dir, "agent"), Server: os.Getenv(envAgents), SiteKey: fleet.Secret(key), NoDiscovery: true, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return e.Run(context.Background())
}

// process is this program in another role; kill ends it as a power cut would.
type process struct {
	t    *testing.T
	role string
	env  []string
	log  *os.File
	cmd  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(append(os.Environ(), envRole+"="+p.role), p.env...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// doorsOf returns addresses for a centre that nobody else takes, not even while
// it is down: the town has its block of loopback addresses to itself, and its
// cameras leave these of it alone.
func doorsOf(t *testing.T, town *camtest.Town) (agents, admin string) {
	t.Helper()
	a := town.Cameras()[0].Addr.As4()
	if a[2] == 0 { // a machine that has 127.0.0.1 alone
		return freeAddr(t), freeAddr(t)
	}
	a[3] = 201
	host := netip.AddrFrom4(a)
	return netip.AddrPortFrom(host, 7443).String(), netip.AddrPortFrom(host, 7080).String()
}

// TestLongKilled kills the agent twenty times and the scheduler five times
// during a run of 2,000 occurrences, with one acknowledgement in twenty lost.
// Every occurrence has exactly one outcome, and the books say the same as the
// calendar.
func TestLongKilled(t *testing.T) {
	agentKills, centreKills, occurrences := 20, 5, 2000
	if !long {
		agentKills, centreKills, occurrences = 3, 1, 120
	}
	town, err := camtest.New(camtest.Options{NoDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- town.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-town.Ready()

	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	agents, admin := doorsOf(t, town)
	env := []string{envDir + "=" + dir, envAgents + "=" + agents, envAdmin + "=" + admin}
	cen := &process{t: t, role: "centre", env: env, log: log}
	age := &process{t: t, role: "agent", env: env, log: log}
	t.Cleanup(func() {
		age.kill()
		cen.kill()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the processes said:\n%s", b[max(0, len(b)-8<<10):])
		}
	})
	cen.start()
	wait(t, "the centre", func() bool { _, err := os.Stat(filepath.Join(dir, "site.key")); return err == nil })
	age.start()
	api, err := client.New(client.Options{Server: "http://" + admin, TokenFile: filepath.Join(dir, "centre", "admin.token")})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path string, in, out any) error {
		path = strings.TrimPrefix(path, "/")
		if method == http.MethodGet {
			path, query, _ := strings.Cut(path, "?")
			q, err := url.ParseQuery(query)
			if err != nil {
				return err
			}
			return api.Get(t.Context(), path, q, out)
		}
		return api.Send(t.Context(), method, path, in, out)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	apply := func(every time.Duration) {
		t.Helper()
		yaml := "schedules: [{name: quick, select: \"*\", every: " + calendar.Duration(every).String() + ", lead: 10s}]"
		must(call(http.MethodPost, "/schedules/apply", map[string]any{"yaml": yaml}, nil))
	}
	began := fleet.At(time.Now())
	apply(time.Second)
	c := town.Credentials()
	must(call(http.MethodPost, "/credentials", map[string]any{"site": "lab", "user": c.User, "password": c.Password.Reveal()}, nil))
	for _, cam := range town.Cameras() {
		if cam.Snapshot != "" {
			must(call(http.MethodPost, "/cameras", map[string]any{"site": "lab", "url": cam.Snapshot, "name": cam.Name}, nil))
		}
	}

	var books struct {
		fleet.Books
		Balanced bool
	}
	read := func() bool { return call(http.MethodGet, "/books", nil, &books) == nil }
	for kills, done := agentKills+centreKills, 0; ; {
		wait(t, "the centre's answer", read)
		over := int(books.Issued - books.InFlight) // orders go out far ahead: outcomes are what counts
		if over >= occurrences*(done+1)/(kills+1) && done < kills {
			done++
			p := age
			if done%(kills/centreKills) == 0 {
				p = cen
			}
			p.kill()
			p.start()
		}
		if over >= occurrences && done == kills {
			break
		}
	}
	// A busy machine misses and skips some, with a cause; most must be pictures.
	wait(t, "pictures", func() bool { return read() && int(books.Captured) >= occurrences/2 })
	// End: no further orders; those that are out are finished.
	must(api.Post(t.Context(), "schedules/apply", url.Values{"prune": {"true"}}, "application/yaml", []byte("schedules: [{name: never, select: \"*\", once: \"2020-01-01T00:00:00Z\"}]"), nil))
	var audit struct {
		Expected, Stored, Unaccounted int
		InFlight                      int `json:"in_flight"`
		Examples                      []string
	}
	check := func() {
		t.Helper()
		must(call(http.MethodGet, "/audit?from="+url.QueryEscape((began-60_000).String()), nil, &audit))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("books %+v, audit %+v", books.Books, audit)
		}
	})
	wait(t, "all outcomes", func() bool { check(); return read() && books.InFlight == 0 })
	check()
	t.Logf("books %+v; expected %d, stored %d", books.Books, audit.Expected, audit.Stored)
	if audit.Unaccounted != 0 || audit.Expected < occurrences || uint64(audit.Expected) != books.Issued || !books.Balanced {
		t.Errorf("%+v\n%+v", audit, books)
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for give := time.After(3 * time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-give:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
