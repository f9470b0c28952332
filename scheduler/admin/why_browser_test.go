package admin

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// TestWhyInBrowser presses the button on a camera's page: rungs show while the
// agent is still at it, and what breaks is named at the end.
func TestWhyInBrowser(t *testing.T) {
	b := newBrowser(t)
	goOn := make(chan struct{})
	b.d.f.Agent = func(ctx context.Context, _ scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, error) {
		progress(json.RawMessage(`{"name":"route","result":"ok","detail":"<b>eth0</b>"}`))
		select {
		case <-goOn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		progress(json.RawMessage(`{"name":"ports","result":"failed","detail":"silent: 80","fix":"check its cable"}`))
		return json.RawMessage(`{"rungs":[{"name":"route","result":"ok"},{"name":"ports","result":"failed"}]}`), nil
	}
	b.see(360, 740, "dark", b.d.a.OneTimeLogin())
	b.run(chromedp.WaitVisible("#gallery"))
	b.see(360, 740, "dark", "/cameras/"+fleet.CameraID(1).String())
	b.run(chromedp.Click("#why-form button"))
	b.until("the first rung", `document.querySelectorAll("#why tbody tr").length === 1 && document.querySelector("#why tbody").textContent.includes("<b>eth0</b>")`)
	close(goOn)
	b.until("the verdict", `document.querySelector("#why p").textContent === "It breaks at: ports."`)
	b.until("the fix", `document.querySelector("#why tbody").textContent.includes("check its cable") && !document.querySelector("#why-form button").disabled`)
	if worst := eval[[]any](b, contrast); worst[0].(float64) < 4.5 {
		t.Errorf("a text has a contrast of %v: %v", worst...)
	}
	if wide := eval[bool](b, "document.documentElement.scrollWidth > innerWidth"); wide {
		t.Error("the page is wider than the phone")
	}
	b.d.f.Agent = nil
	b.run(chromedp.Click("#why-form button"))
	b.until("the reason", `document.querySelector("#why p").textContent.includes("no agent is connected")`)
	b.shot("why-phone")
}
