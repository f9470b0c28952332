package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "write docs/gallery.png anew")

// output collects what a command prints, and can be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startDev runs `shutterfleet dev` in this process and returns its login URL.
// The returned function ends it and returns what it printed.
func startDev(t *testing.T, args ...string) (url string, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &output{}
	cmd := rootCommand()
	cmd.SetArgs(append([]string{"dev", "--listen", "127.0.0.1:0"}, args...))
	cmd.SetOut(out)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	var once sync.Once
	stop = func() string {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("dev: %v", err)
			}
		})
		return out.String()
	}
	t.Cleanup(func() { stop() })
	link := regexp.MustCompile(`http://\S+`)
	for range time.Tick(20 * time.Millisecond) {
		if url = link.FindString(out.String()); url != "" {
			return url, stop
		}
		select {
		case err := <-done:
			t.Fatalf("dev ended: %v\n%s", err, out)
		default:
		}
	}
	return "", stop
}

// get asks as a logged-in browser without scripts does.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v\n%s", url, res.StatusCode, err, b)
	}
	return string(b)
}

// TestDevBalances runs the demo for a while: every picture that was asked for
// is accounted for.
func TestDevBalances(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	// Processes of their own: --for counts from the start of the process.
	dev := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"dev", "--headless", "--listen", "127.0.0.1:0", "--data", dir}, args...)...)
		cmd.Env = append(os.Environ(), envProgram+"=yes")
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		return cmd
	}
	// A run before, in the same directory, must not show in the summary. A busy
	// machine may not have started when its time is over.
	err := errors.New("not run")
	for d := 3 * time.Second; d < time.Minute && err != nil; d *= 2 {
		if err = dev("--for", d.String()).Run(); err != nil {
			t.Logf("dev --for %s: %v", d, err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var sum summary
	complete := func() bool {
		f := sum.CamerasFound
		return f.Total >= 12 && f.WSDiscovery > 0 && f.MDNS > 0 && f.UPnP > 0 && sum.CamerasApproved >= 12 && sum.Captured >= 12 && sum.FirstFrameMS > 0
	}
	// It needs more time, too, until all are found and photographed: those that
	// the run before has found are photographed before they are found again.
	for d := 8 * time.Second; d < 2*time.Minute && !complete(); d *= 2 {
		out.Reset()
		if err := dev("--for", d.String(), "-o", "json", "--faults", "dock-2=silent,gate-yard=black").Run(); err != nil {
			t.Logf("dev: %v", err) // an unknown camera name would be a usage error
		}
		sum = summary{}
		if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
			t.Logf("dev --for %s: %v\n%s", d, err, out.String())
		}
		if sum.Unaccounted != 0 {
			break
		}
	}
	if sum.CamerasFound.Total < 12 || sum.CamerasFound.WSDiscovery == 0 || sum.CamerasFound.MDNS == 0 || sum.CamerasFound.UPnP == 0 || sum.CamerasApproved < 12 {
		t.Errorf("found %+v, approved %d", sum.CamerasFound, sum.CamerasApproved)
	}
	if sum.Unaccounted != 0 || sum.InFlight != 0 || sum.OutboxPending != 0 || sum.Captured < 12 || sum.Issued != sum.Captured+sum.Failed+sum.Missed+sum.Skipped || sum.Fingerprints != int(sum.Captured) {
		t.Errorf("%+v", sum)
	}
	if sum.FirstFrameMS <= 0 {
		t.Errorf("first frame after %d ms", sum.FirstFrameMS)
	}
}

// TestPageWithoutScripts reads the pages as they come.
func TestPageWithoutScripts(t *testing.T) {
	url, _ := startDev(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	base := url[:strings.Index(url, "/login")]
	if body := get(t, c, base+"/"); !strings.Contains(body, "Token") {
		t.Error("the gallery is shown to strangers")
	}
	get(t, c, url)
	again, err := http.Get(url) // another browser, with the same link
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if len(again.Cookies()) > 0 {
		t.Error("the login link works twice")
	}
	var page string
	began := time.Now()
	for range time.Tick(100 * time.Millisecond) {
		page = get(t, c, base+"/")
		n := strings.Count(page, "thumbnail.jpg")
		if n >= 12 {
			break
		}
		if time.Since(began) > 8*time.Minute {
			t.Fatalf("%d of 12 pictures in the gallery:\n%s", n, page)
		}
	}
	weight := len(page) + len(get(t, c, base+"/assets/style.css")) + len(get(t, c, base+"/assets/live.js"))
	if weight > 150_000 {
		t.Errorf("the first page weighs %d bytes without pictures", weight)
	}
	camera := regexp.MustCompile(`/cameras/(cam-[a-z0-9]+)"`).FindStringSubmatch(page)
	if camera == nil {
		t.Fatal("no link to a camera")
	}
	for path, want := range map[string]string{"/cameras/" + camera[1]: "Recent captures", "/schedules": "every 2s", "/agents": "connected", "/api/openapi.json": `"openapi":"3.1`} {
		if body := get(t, c, base+path); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q", path, want)
		}
	}
	if pic := get(t, c, base+"/api/v1/cameras/"+camera[1]+"/thumbnail.jpg"); !strings.HasPrefix(pic, "\xff\xd8") {
		t.Error("the thumbnail is no JPEG")
	}
	// A form of another site must not work.
	req, err := http.NewRequest(http.MethodPost, base+"/approve", strings.NewReader("all=1"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another site: %d", res.StatusCode)
	}
}

// TestPageInBrowser looks at the gallery with a real browser: wide and narrow,
// light and dark, live.
func TestPageInBrowser(t *testing.T) {
	var path string
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("chromium is needed: run `make test-deps`")
	}
	url, _ := startDev(t)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(1280, 860))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	number := func(js string) int {
		t.Helper()
		n, err := chromedp.Run(ctx, chromedp.Evaluate[int](js))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	wait := func(what, js string) {
		t.Helper()
		for number(js) == 0 {
			select {
			case <-ctx.Done():
				t.Fatalf("waited for %s", what)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	colours := func(scheme string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return err
		})
	}
	// High enough for all tiles: pictures out of sight are not loaded.
	do(colours("light"), chromedp.EmulateViewport(1280, 8000), chromedp.Navigate(url))
	wait("twelve pictures", `[...document.querySelectorAll(".tile img")].filter(i => i.complete && i.naturalWidth > 0).length >= 12 ? 1 : 0`)
	if *update {
		do(chromedp.EmulateViewport(1280, 860))
		b, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../../docs/gallery.png", b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	light := number(`parseInt(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`)
	do(colours("dark"))
	dark := number(`parseInt(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`)
	if light < 200 || dark > 60 {
		t.Errorf("the background is %d in light and %d in dark", light, dark)
	}
	for _, size := range []struct{ w, h int64 }{{390, 844}, {820, 1180}, {3840, 2160}} {
		do(chromedp.EmulateViewport(size.w, size.h))
		if over := number(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %dx%d the page is %d pixels too wide", size.w, size.h, over)
		}
	}
	// Live: a tile shows another frame without a reload.
	first := `(window.seen = window.seen || document.querySelector(".tile img").src, document.querySelector(".tile img").src !== window.seen ? 1 : 0)`
	wait("a newer frame in the first tile", first)
	if n := number(`document.querySelectorAll(".state svg").length - document.querySelectorAll(".state").length`); n != 0 {
		t.Errorf("%d states lack their shape", -n)
	}
}
