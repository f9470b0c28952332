package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

const half = `{"rectangles":[{"x":0,"y":0,"width":0.5,"height":1}]}`

// TestMaskDoor sets, shows and takes off a mask, as its ETag allows; each change
// is in the log with who made it.
func TestMaskDoor(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	log := d.log
	path := apiBase + "/cameras/" + fleet.CameraID(1).String()
	first := d.as("viewer", "GET", path+"/mask", "")
	none := first.Header().Get("ETag")
	if m := decode[Mask](t, first, 200); m.Revision != 0 || m.Rectangles == nil || m.Polygons == nil || m.Agents == nil || m.Since != nil {
		t.Errorf("a camera without a mask has %+v", m)
	}
	if m := decode[Mask](t, d.as("operator", "PUT", path+"/mask?dry_run=true", half), 200); !m.DryRun || len(m.Rectangles) != 1 || m.Revision != 0 || log.Len() > 0 {
		t.Errorf("dry run: %+v", m)
	}
	w := d.do(request{"PUT", path + "/mask", half, map[string]string{"Authorization": "Bearer operator", "If-Match": none, "Content-Type": "application/json"}})
	m := decode[Mask](t, w, 200)
	if m.Revision != 1 || m.By != "the operator" || len(m.Sum.String()) != 16 || len(m.Agents) != 1 || m.Agents[0] != (MaskHolder{"agent-1", "held"}) || w.Header().Get("ETag") != `"1"` {
		t.Errorf("%+v, ETag %s", m, w.Header().Get("ETag"))
	}
	for _, want := range []string{"privacy mask changed", fleet.CameraID(1).String(), "revision=1", "shapes=1", `by="the operator"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	c := decode[Camera](t, d.as("viewer", "GET", path, ""), 200)
	if c.Mask == nil || *c.Mask != (MaskBrief{Revision: 1, Sum: m.Sum, Shapes: 1, Since: admintest.Epoch}) {
		t.Errorf("the camera tells of %+v", c.Mask)
	}
	log.Reset()
	if m := decode[Mask](t, d.as("operator", "PUT", path+"/mask", half), 200); m.Revision != 1 || log.Len() > 0 {
		t.Errorf("the same again: %+v, logged %q", m, log.String())
	}
	if w := d.do(request{"PUT", path + "/mask", `{"rectangles":[{"x":0,"y":0,"width":1,"height":1}]}`, map[string]string{"Authorization": "Bearer operator", "If-Match": `"7"`, "Content-Type": "application/json"}}); w.Code != http.StatusPreconditionFailed {
		t.Errorf("another revision: %d %s", w.Code, w.Body)
	}
	if w := d.do(request{"PUT", path + "/mask", `{"rectangles":[{"x":0,"y":0,"width":1,"height":1}]}`, map[string]string{"Authorization": "Bearer operator", "If-Match": none, "Content-Type": "application/json"}}); w.Code != http.StatusPreconditionFailed {
		t.Errorf("where there was no mask when it was read: %d %s", w.Code, w.Body)
	}
	if m := decode[Mask](t, d.do(request{"DELETE", path + "/mask", "", map[string]string{"Authorization": "Bearer operator", "If-Match": `"1"`}}), 200); m.Revision != 2 || len(m.Rectangles) != 0 || m.Sum != 0 {
		t.Errorf("taken off: %+v", m)
	}
	if c := decode[Camera](t, d.as("viewer", "GET", path, ""), 200); c.Mask != nil {
		t.Errorf("%+v", c.Mask)
	}
}

// TestMaskRefusals: what cannot be a mask is refused with what to write instead.
func TestMaskRefusals(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	path := apiBase + "/cameras/" + fleet.CameraID(1).String() + "/mask"
	for body, says := range map[string]string{
		`{"rects":[]}`: `unknown field \"rects\": want {\"rectangles\"`,
		`{}`:           "hides nothing",
		`nonsense`:     "want {",
		`{"rectangles":[{"x":0,"y":0,"width":640,"height":480}]}`: "shares of the picture",
	} {
		if w := d.as("operator", "PUT", path, body); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s, want %s", body, w.Code, w.Body, says)
		}
	}
	if w := d.as("operator", "PUT", path, half+strings.Repeat(" ", fleet.MaxMaskBytes)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too much: %d %s", w.Code, w.Body)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		body := ""
		if method == "PUT" {
			body = half
		}
		if w := d.as("operator", method, apiBase+"/cameras/"+fleet.CameraID(77).String()+"/mask", body); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "cameras ls") {
			t.Errorf("%s of an unknown camera: %d %s", method, w.Code, w.Body)
		}
	}
}

// TestMaskOnThePage: the camera's page says that parts are hidden, and a capture
// under which mask it was taken.
func TestMaskOnThePage(t *testing.T) {
	f := admintest.New().Street()
	d := newDoor(t, f, Options{})
	path := "/cameras/" + fleet.CameraID(1).String()
	if page := d.as("viewer", "GET", path, "").Body.String(); strings.Contains(page, "Privacy mask") {
		t.Error("the page of a camera without a mask speaks of one")
	}
	shapes, err := fleet.ParseMask([]byte(half))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetMask(t.Context(), scheduler.NewMask{Camera: 1, Mask: shapes}); err != nil {
		t.Fatal(err)
	}
	if page := d.as("viewer", "GET", path, "").Body.String(); !strings.Contains(page, "1 shape hides a part of the picture since") {
		t.Error("the page does not say that parts are hidden")
	}
	for i := range f.Taken {
		f.Taken[i].Reading.Fingerprint.Mask = shapes.Sum()
	}
	var list struct{ Items []Capture }
	if err := json.Unmarshal(d.as("viewer", "GET", apiBase+"/captures?outcome=captured&limit=1", "").Body.Bytes(), &list); err != nil || len(list.Items) != 1 || list.Items[0].Fingerprint.Mask != shapes.Sum().String() {
		t.Errorf("%v: %+v", err, list)
	}
}
