package admin

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// browser is one tab of a real Chromium, signed in to a street of cameras.
// With SHUTTERFLEET_SHOTS set to a folder, its screenshots are kept there.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it
	url string
	d   *door

	*console
}

// console is what the browser complained about.
type console struct {
	mu   sync.Mutex
	errs []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("no browser: install chromium (`make test` does)")
	}
	b := &browser{t: t, console: &console{}, d: newDoor(t, admintest.New().Street(), Options{Faults: fakeFaults{}})}
	srv := httptest.NewServer(b.d.a.Handler())
	t.Cleanup(srv.Close)
	b.url = srv.URL
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("no-proxy-server", true),
	}
	opts = append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), opts...)
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
		cancel()
	})
	b.ctx = ctx
	if err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			b.complain(e.Entry.Text + " " + e.Entry.URL)
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	command(b, log.Enable, cdp.Empty{})
	return b
}

// complain notes what the browser's console says; it runs in the browser's
// reading goroutine.
func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, text)
}

func (b *browser) complaints() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.errs, "\n")
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\nconsole: %s", err, b.complaints())
	}
}

// command runs one command of the browser's protocol.
func command[P, R any](b *browser, c cdp.Command[P, R], p P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, c, p); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what a script says.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// until waits for a script to become true.
func (b *browser) until(what, script string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		html, _ := chromedp.Run(b.ctx, chromedp.OuterHTML("main"))
		b.t.Fatalf("waiting for %s: %v\nconsole: %s\n%s", what, err, b.complaints(), html)
	}
}

func (b *browser) shot(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if dir := os.Getenv("SHUTTERFLEET_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
			b.t.Error(err)
		}
	}
}

// see opens a page on a screen of a size and a color scheme.
func (b *browser) see(width, height int64, scheme, path string) {
	b.t.Helper()
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	b.run(chromedp.EmulateViewport(width, height), chromedp.Navigate(b.url+path), chromedp.WaitVisible("main"))
}

// contrast is WCAG 2's: each text against the first opaque background behind it.
const contrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const rgb = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const lum = (c) => c.slice(0, 3).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0);
	let worst = [99, ""];
	for (const el of document.querySelectorAll("body *")) {
		if (![...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !el.checkVisibility() || el.closest("noscript, option")) continue;
		let back = el, bg;
		while (back && (bg = rgb(getComputedStyle(back).backgroundColor))[3] < 255) back = back.parentElement;
		const [a, b] = [lum(rgb(getComputedStyle(el).color)), lum(bg || [255, 255, 255])].sort((x, y) => y - x);
		const c = (a + .05) / (b + .05);
		if (c < worst[0]) worst = [c, el.outerHTML.slice(0, 200)];
	}
	return worst;
})()`

// TestInBrowser walks through the pages as people see them.
func TestInBrowser(t *testing.T) {
	b := newBrowser(t)
	b.see(1280, 800, "light", b.d.a.OneTimeLogin())
	b.run(chromedp.WaitVisible("#gallery"))
	if got := eval[string](b, "location.pathname + location.search"); got != "/" {
		t.Fatalf("the one-time link led to %s", got)
	}
	b.until("the event stream", `document.getElementById("live").textContent === "live"`)
	b.until("pictures", `[...document.querySelectorAll(".tile img")].slice(0, 4).every((i) => i.complete && i.naturalWidth === 320)`)

	planned(t, b.d.f)
	for _, view := range []struct {
		name, scheme  string
		width, height int64
		path          string
		columns       int // of the gallery, at least
	}{
		{"gallery-light", "light", 1280, 800, "/", 4},
		{"gallery-dark", "dark", 1280, 800, "/", 4},
		{"gallery-phone", "light", 360, 740, "/", 2},
		{"gallery-phone-dark", "dark", 320, 640, "/", 2},
		{"gallery-wall", "dark", 3840, 2160, "/", 6},
		{"camera-light", "light", 1280, 800, "/cameras/" + fleet.CameraID(3).String(), 0},
		{"camera-phone", "dark", 360, 740, "/cameras/" + fleet.CameraID(5).String(), 0},
		{"schedules-phone", "light", 360, 740, "/schedules", 0},
		{"schedules-dark", "dark", 1280, 800, "/schedules", 0},
		{"schedules-narrow", "dark", 320, 640, "/schedules", 0},
		{"camera-asked", "light", 360, 740, "/cameras/" + fleet.CameraID(1).String() + "?job=job-1", 0},
		{"agents-dark", "dark", 1280, 800, "/agents", 0},
	} {
		t.Run(view.name, func(t *testing.T) {
			b := b.with(t)
			b.see(view.width, view.height, view.scheme, view.path)
			b.shot(view.name)
			if over := eval[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
				t.Errorf("the page is %d pixels wider than the screen", over)
			}
			worst := eval[[]any](b, contrast)
			if c, ok := worst[0].(float64); !ok || math.Round(c*100)/100 < 4.5 {
				t.Errorf("contrast %v in %v", worst[0], worst[1])
			}
			dark := eval[string](b, "getComputedStyle(document.body).backgroundColor") != "rgb(246, 246, 243)"
			if dark != (view.scheme == "dark") {
				t.Errorf("dark is %v", dark)
			}
			if view.columns > 0 {
				n := eval[int](b, `getComputedStyle(document.getElementById("gallery")).gridTemplateColumns.split(" ").length`)
				if n < view.columns {
					t.Errorf("%d columns, want %d", n, view.columns)
				}
			}
			small := eval[[]string](b, `[...document.querySelectorAll("button, select, input:not([type=hidden]):not([type=checkbox])")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)`)
			if len(small) > 0 {
				t.Errorf("too small to touch: %v", small)
			}
		})
	}

	t.Run("live", func(t *testing.T) { b.with(t).live() })
	t.Run("pause and resume", func(t *testing.T) { b.with(t).pauseAndResume() })
	t.Run("capture now", func(t *testing.T) { b.with(t).captureNow() })
	t.Run("first camera", func(t *testing.T) { b.with(t).firstCamera() })
	t.Run("without script", func(t *testing.T) { b.with(t).withoutScript() })
	if said := b.complaints(); said != "" {
		t.Errorf("the console says: %s", said)
	}
}

func (b *browser) with(t *testing.T) *browser {
	return &browser{t: t, ctx: b.ctx, url: b.url, d: b.d, console: b.console}
}

// live changes the fleet under an open page.
func (b *browser) live() {
	f := b.d.f
	one := fleet.CameraID(1)
	b.see(1280, 800, "light", "/")
	b.until("the event stream", `document.getElementById("live").textContent === "live"`)

	// Count what the page asks for: many events, at most one request a second.
	eval[bool](b, `(() => { window.asked = 0; window.began = performance.now(); const was = window.fetch; window.fetch = (...a) => { window.asked++; return was(...a); }; return true; })()`)
	v, err := f.Camera(b.ctx, one)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range 40 {
		last := *v.Last
		last.Outcome, last.Cause, last.At = fleet.Failed, fleet.CauseRefused, epoch.Add(time.Duration(i)*time.Millisecond)
		v.Last, v.Status = &last, scheduler.StatusFailed
		f.Put(v)
		f.Tell(scheduler.Event{Kind: "capture", Camera: one})
	}
	b.until("the tile to fail", fmt.Sprintf(`document.getElementById(%q).textContent.includes("failed: refused")`, one))
	asked, took := eval[int](b, "window.asked"), eval[float64](b, "performance.now() - window.began")
	if float64(asked) > took/1000+2 {
		b.t.Errorf("%d requests in %.0f ms", asked, took)
	}

	// A form that somebody fills in stays as it is; the rest goes on.
	b.run(chromedp.Click(`#pending input[type=checkbox]`))
	f.Put(f.Add(200, scheduler.StatusPending))
	f.Put(f.Add(300, scheduler.StatusOK))
	f.Tell(scheduler.Event{Kind: "camera", Camera: 200})
	b.until("a new tile", fmt.Sprintf(`!!document.getElementById(%q)`, fleet.CameraID(300)))
	if !eval[bool](b, `!!document.querySelector("#pending input:checked")`) {
		b.t.Error("the chosen camera is no longer chosen")
	}

	// Approving moves a camera from the list to the gallery.
	b.run(chromedp.Click(`#pending button[name=all]`), chromedp.WaitNotPresent("#pending form"))
	b.until("the approved camera's tile", fmt.Sprintf(`!!document.getElementById(%q)`, fleet.CameraID(100)))
}

// planned gives the pages of schedules and jobs something to show.
func planned(t *testing.T, f *admintest.Fleet) {
	t.Helper()
	if _, err := f.Pause(t.Context(), scheduler.NewPause{Schedule: "demo", Site: "home", Until: epoch.Add(time.Hour), By: "somebody", Reason: "the floor is being cleaned"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CaptureNow(t.Context(), scheduler.NewJob{Cameras: []fleet.CameraID{1}}); err != nil {
		t.Fatal(err)
	}
	f.Land("job-1", 1, fleet.CauseTimeout)
}

// pauseAndResume does both by the buttons of the schedules page.
func (b *browser) pauseAndResume() {
	paused := func() []scheduler.Pause {
		all, err := b.d.f.Pauses(b.ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		return all
	}
	b.see(1280, 800, "light", "/schedules")
	box := eval[[]float64](b, `(() => { const r = document.querySelector(".load svg .due").getBoundingClientRect(); return [r.width, r.height]; })()`)
	if box[0] < 600 || box[1] < 100 {
		b.t.Errorf("the bars take %v pixels", box)
	}
	b.run(chromedp.Click(`#pauses form[action$="/pause-1/resume"] button`), chromedp.WaitNotPresent("#pauses"))
	if p := paused(); len(p) != 0 {
		b.t.Errorf("resumed: %+v", p)
	}
	// A schedule's own button sends what the form above says.
	b.run(chromedp.SendKeys(`#pause input[name=reason]`, "storm"), chromedp.Click(`#schedules button[value=demo]`), chromedp.WaitVisible("#pauses"))
	if p := paused(); len(p) != 1 || p[0].Schedule != "demo" || p[0].Until != epoch.Add(time.Hour) || p[0].Reason != "storm" || p[0].By != "one-time login" {
		b.t.Errorf("paused: %+v", p)
	}
	eval[bool](b, `(() => { document.querySelector("#pause select[name=for]").value = ""; return true; })()`)
	b.run(chromedp.Click(`#pause button[value=all]`), chromedp.WaitVisible(`#pauses form[action$="/pause-3/resume"]`))
	if p := paused(); len(p) != 2 || p[1].Schedule != "" || p[1].Until != 0 {
		b.t.Errorf("paused: %+v", p)
	}
	if got := eval[string](b, "location.pathname"); got != "/schedules" {
		b.t.Errorf("the form led to %s", got)
	}
	b.run(chromedp.Click(`#pauses form[action$="/pause-2/resume"] button`), chromedp.WaitNotPresent(`#pauses form[action$="/pause-2/resume"]`),
		chromedp.Click(`#pauses form[action$="/pause-3/resume"] button`), chromedp.WaitNotPresent("#pauses"))
}

// captureNow asks for a picture on a camera's page and sees it come.
func (b *browser) captureNow() {
	one := fleet.CameraID(1)
	b.see(1280, 800, "light", "/cameras/"+one.String())
	b.run(chromedp.Click(`form[action$="/capture"] button`), chromedp.WaitVisible("#job p"))
	b.until("the event stream", `document.getElementById("live").textContent === "live"`)
	b.until("the job", `document.getElementById("job").textContent.includes("on its way")`)
	job := eval[string](b, `new URLSearchParams(location.search).get("job")`)
	if !b.d.f.Land(job, one, "") {
		b.t.Fatalf("job %q is not in flight", job)
	}
	b.d.f.Tell(scheduler.Event{Kind: "capture", Camera: one, Site: "home"})
	b.until("the outcome", `document.querySelector("#job .badge.is-ok")?.textContent === "captured"`)
	b.shot("captured-now")
}

// firstCamera opens the page of an empty fleet and lets a camera come.
func (b *browser) firstCamera() {
	b.d = newDoor(b.t, admintest.New(), Options{})
	srv := httptest.NewServer(b.d.a.Handler())
	b.t.Cleanup(srv.Close)
	b.url = srv.URL
	b.see(1280, 800, "light", b.d.a.OneTimeLogin())
	b.run(chromedp.WaitVisible("#empty"))
	b.until("the event stream", `document.getElementById("live").textContent === "live"`)
	b.shot("empty")
	b.d.f.Add(1, scheduler.StatusOK)
	b.d.f.Tell(scheduler.Event{Kind: "camera", Camera: 1})
	b.run(chromedp.WaitVisible("#"+fleet.CameraID(1).String()), // the page loads itself anew
		chromedp.Navigate("about:blank")) // ends its event stream
}

// withoutScript does the same by plain forms.
func (b *browser) withoutScript() {
	b.d.f.Put(b.d.f.Add(101, scheduler.StatusPending))
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.see(1280, 800, "light", "/")
	b.run(chromedp.WaitVisible("#pending form"), chromedp.WaitVisible("noscript"))
	b.shot("gallery-without-script")
	b.run(chromedp.Click(`#pending li button`), chromedp.WaitNotPresent("#pending form"), chromedp.WaitVisible("#gallery"))
	if v, err := b.d.f.Camera(b.ctx, 101); err != nil || v.State != fleet.Approved {
		b.t.Errorf("approved without script: %s, %v", v.State, err)
	}
	b.run(chromedp.Click(`.chips a[href*=failed]`), chromedp.WaitVisible(`.chips a[href*=failed][aria-current]`))
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false})
}
