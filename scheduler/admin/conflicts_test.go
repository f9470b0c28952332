package admin

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func clone(n byte) fleet.Rival {
	return fleet.Rival{
		Key: "mac:ac:cc:8e:00:00:0" + string('0'+n), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 80 + n})}, Vendor: "Acme <b>",
		Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "urn:uuid:1"}}, LastSeen: epoch.Time(),
		Evidence: []fleet.Evidence{{Kind: "epr", Value: "1", Weight: 160}, {Kind: "hardware", Weight: -100}, {Kind: "serial", Value: "m 1", Junk: true}},
	}
}

// TestConflictPages: both sides stand beside each other, and a button decides.
func TestConflictPages(t *testing.T) {
	f := admintest.New().Street()
	d := newDoor(t, f, Options{})
	f.Contradict(1, clone(1), clone(2))
	id := fleet.CameraID(1).String()
	viewer, operator := d.signIn("viewer"), d.signIn("operator")
	for _, path := range []string{"/conflicts", "/cameras/" + id} {
		for who, h := range map[string]map[string]string{"viewer": viewer, "operator": operator} {
			w := d.do(request{path: path, header: h})
			body := w.Body.String()
			for _, want := range []string{"192.0.2.7", "192.0.2.81", "192.0.2.82", "urn:uuid:1", "for: 160 epr", "against: -100 hardware", "shared by several serial", "two answer as one", "Acme &lt;b&gt;"} {
				if w.Code != http.StatusOK || !strings.Contains(body, want) {
					t.Errorf("%s for a %s: %d, want %q in it:\n%s", path, who, w.Code, want, body)
				}
			}
			if may := strings.Contains(body, `value="same mac:ac:cc:8e:00:00:02"`); may != (who == "operator") {
				t.Errorf("%s lets a %s decide: %v", path, who, may)
			}
		}
	}
	if body := d.do(request{path: "/", header: viewer}).Body.String(); !strings.Contains(body, `href="/conflicts"`) || !strings.Contains(body, "is-quarantined") {
		t.Errorf("the first page does not lead to the conflict:\n%s", body)
	}
	if w := d.do(request{"POST", "/cameras/" + id + "/resolve", "decision=same+mac:ac:cc:8e:00:00:02", viewer}); w.Code != http.StatusForbidden {
		t.Errorf("a viewer decided: %d", w.Code)
	}
	if w := d.do(request{"POST", "/cameras/" + id + "/resolve", "decision=maybe", operator}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("decided maybe: %d", w.Code)
	}
	w := d.do(request{"POST", "/cameras/" + id + "/resolve", "decision=same+mac:ac:cc:8e:00:00:02", operator})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/cameras/"+id {
		t.Errorf("decided: %d to %s", w.Code, w.Header().Get("Location"))
	}
	if len(f.Resolved) != 1 || !f.Resolved[0].Same || f.Resolved[0].Rival != "mac:ac:cc:8e:00:00:02" || f.Resolved[0].By != "the operator" {
		t.Errorf("resolved %+v", f.Resolved)
	}
	if body := d.do(request{path: "/conflicts", header: viewer}).Body.String(); !strings.Contains(body, "No device contradicts another") {
		t.Errorf("no conflict is left, and the page says:\n%s", body)
	}
}

func TestConflictAPI(t *testing.T) {
	f := admintest.New().Street()
	d := newDoor(t, f, Options{})
	id := fleet.CameraID(1).String()
	if w := d.as("viewer", "GET", "/api/v1/cameras/"+id+"/conflict", ""); w.Code != http.StatusNotFound {
		t.Errorf("a camera without a conflict: %d", w.Code)
	}
	f.Contradict(1, clone(1))
	var list List[Conflict]
	if err := json.Unmarshal(d.as("viewer", "GET", "/api/v1/conflicts?site=home", "").Body.Bytes(), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("conflicts %+v, %v", list, err)
	}
	var one Conflict
	if err := json.Unmarshal(d.as("viewer", "GET", "/api/v1/cameras/"+id+"/conflict", "").Body.Bytes(), &one); err != nil {
		t.Fatal(err)
	}
	if one.Device != list.Items[0].Device || len(one.Rivals) != 1 || one.Rivals[0].Addresses[0] != "192.0.2.81" || one.Rivals[0].Evidence[1].Weight != -100 || one.Self.Cameras[0] != 1 {
		t.Errorf("conflict %+v", one)
	}
	var c Camera
	if err := json.Unmarshal(d.as("viewer", "GET", "/api/v1/cameras/"+id, "").Body.Bytes(), &c); err != nil || c.State != fleet.Quarantined || c.Status != "quarantined" || !strings.Contains(c.Fix, "cameras resolve") {
		t.Errorf("camera %+v, %v", c, err)
	}
	for body, want := range map[string]int{`{"decision":"perhaps"}`: 422, `{}`: 422, `{"decision":"different"}`: 200} {
		if w := d.as("operator", "POST", "/api/v1/cameras/"+id+"/resolve", body); w.Code != want {
			t.Errorf("%s: %d, want %d", body, w.Code, want)
		}
	}
	if w := d.as("viewer", "POST", "/api/v1/cameras/"+id+"/resolve", `{"decision":"different"}`); w.Code != http.StatusForbidden {
		t.Errorf("a viewer decided: %d", w.Code)
	}
	if len(f.Resolved) != 1 || f.Resolved[0].Same {
		t.Errorf("resolved %+v", f.Resolved)
	}
}

// TestStatesSayTheFix: each state of a device has its fix on the page and in
// the API; one that is ok has none.
func TestStatesSayTheFix(t *testing.T) {
	for _, state := range []fleet.DeviceState{fleet.DeviceOK, fleet.DeviceNeedsCredentials, fleet.DeviceLocked, fleet.DeviceSkewed, fleet.DeviceUnreachable, fleet.DeviceConflict} {
		f := admintest.New().Street()
		d := newDoor(t, f, Options{})
		v := f.ByID[1]
		v.DeviceState, v.Reason = state, "because of "+string(state)
		f.Put(v)
		page := d.do(request{path: "/cameras/" + v.ID.String(), header: d.signIn("viewer")}).Body.String()
		var c Camera
		if err := json.Unmarshal(d.as("viewer", "GET", "/api/v1/cameras/"+v.ID.String(), "").Body.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		ok := state == fleet.DeviceOK
		if ok != (c.Fix == "") || ok == strings.Contains(page, v.Reason) || c.Reason != v.Reason || !strings.Contains(page, "<dd>"+string(state)+"</dd>") {
			t.Errorf("%s: fix %q, page:\n%s", state, c.Fix, page)
		}
		if fix := strings.TrimSuffix(c.Fix, "."); !ok && !strings.Contains(strings.ReplaceAll(page, "&#39;", "'"), fix) {
			t.Errorf("%s: the page does not say %q", state, fix)
		}
	}
}
