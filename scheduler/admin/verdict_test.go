package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// turned is a street whose first camera was moved half an hour ago.
func turned() *admintest.Fleet {
	f := admintest.New().Street()
	for i := range f.Taken {
		if f.Taken[i].Camera == 1 {
			f.Taken[i].Reading.Verdict = fleet.Verdict{
				Fault: fleet.FaultMoved, Lasting: fleet.FaultMoved, Score: 0.75, Metric: "correlation", Value: 0.25, Usual: 1, Limit: 0.75, ShiftX: 0.125, ShiftY: -0.0625,
			}
			v := f.ByID[1]
			v.Last = &f.Taken[i]
			f.ByID[1] = v
		}
	}
	return f
}

func TestVerdictsInCaptures(t *testing.T) {
	d := newDoor(t, turned(), Options{})
	var page struct{ Items []Capture }
	w := d.as("viewer", http.MethodGet, "/api/v1/captures?outcome=captured", "")
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Items) < 2 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	want := &Verdict{
		Fault: fleet.FaultMoved, Lasting: fleet.FaultMoved, Score: 0.75,
		Evidence: &VerdictEvidence{"correlation", 0.25, 1, 0.75}, Shift: &Shift{0.125, -0.0625},
	}
	for _, c := range page.Items {
		if c.Camera == 1 && !reflect.DeepEqual(c.Verdict, want) {
			t.Errorf("%+v", c.Verdict)
		}
		if c.Camera != 1 && c.Verdict != nil { // nobody judged it
			t.Errorf("%s: %+v", c.Camera, c.Verdict)
		}
	}
}

func TestVerdictText(t *testing.T) {
	for want, v := range map[string]fleet.Verdict{
		"":                            {Fault: fleet.FaultNone},
		"learning how it looks":       {Fault: fleet.FaultNone, Learning: true},
		"dark 0.997, limit 0.98":      {Fault: fleet.FaultBlack, Metric: "dark", Value: 0.997, Limit: 0.98},
		"noise 9, usual 3, limit 6.6": {Fault: fleet.FaultNoisy, Metric: "noise", Value: 9, Usual: 3, Limit: 6.6},
		"correlation 0.25, usual 1, limit 0.75; the picture moved 12 % of its width to the left, 6 % of its height down": {
			Fault: fleet.FaultMoved, Metric: "correlation", Value: 0.25, Usual: 1, Limit: 0.75, ShiftX: -0.12, ShiftY: 0.06,
		},
	} {
		if got := verdictText(verdictOf(v)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := verdictText(verdictOf(fleet.Verdict{})); got != "" {
		t.Errorf("of a frame that nobody judged: %q", got)
	}
}

// TestCameraPageTellsWhatIsWrong: the verdict, what decided, what to do, and for
// operators how to say that nothing is.
func TestCameraPageTellsWhatIsWrong(t *testing.T) {
	d := newDoor(t, turned(), Options{})
	path := "/cameras/" + fleet.CameraID(1).String()
	button := `action="` + path + `/accept"`
	page := d.as("operator", http.MethodGet, path, "").Body.String()
	for _, want := range []string{"<td>moved<", "12 % of its width to the right, 6 % of its height up", remedy[fleet.FaultMoved], button} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a moved camera lacks %q", want)
		}
	}
	if page := d.as("viewer", http.MethodGet, path, "").Body.String(); strings.Contains(page, button) {
		t.Error("a viewer is asked to accept")
	}
	well := newDoor(t, admintest.New().Street(), Options{}).as("operator", http.MethodGet, path, "").Body.String()
	if strings.Contains(well, button) {
		t.Error("the page of a camera that is well asks to accept it")
	}
}

// TestGalleryTellsWhatIsWrong: a picture that came is not all that is asked of it.
func TestGalleryTellsWhatIsWrong(t *testing.T) {
	const says = `<b class="looks">looks moved</b>`
	if page := newDoor(t, turned(), Options{}).as("viewer", http.MethodGet, "/", "").Body.String(); strings.Count(page, says) != 1 {
		t.Errorf("%d cameras look moved, want one", strings.Count(page, says))
	}
	if page := newDoor(t, admintest.New().Street(), Options{}).as("viewer", http.MethodGet, "/", "").Body.String(); strings.Contains(page, `class="looks"`) {
		t.Error("something is wrong with cameras that are well")
	}
}

// TestEachFaultHasARemedy: whoever is told what is wrong is told what to do.
func TestEachFaultHasARemedy(t *testing.T) {
	for _, f := range []fleet.Fault{
		fleet.FaultBlack, fleet.FaultOverExposed, fleet.FaultUnderExposed, fleet.FaultFlat, fleet.FaultBlurred,
		fleet.FaultCovered, fleet.FaultMoved, fleet.FaultFrozen, fleet.FaultNoisy, fleet.FaultCorrupt,
	} {
		if remedy[f] == "" {
			t.Errorf("%s has no remedy", f)
		}
	}
}

func TestAccept(t *testing.T) {
	f := turned()
	since := time.Date(2027, 3, 1, 5, 30, 0, 0, time.UTC)
	asked := 0
	f.Agent = func(_ context.Context, c scheduler.Command, _ func(json.RawMessage)) (json.RawMessage, error) {
		asked++
		if c.Kind != fleet.CommandRelearn || c.Camera != 1 || c.Argument != (fleet.RelearnRequest{Camera: 1}) {
			t.Errorf("asked %+v", c)
		}
		return json.Marshal(fleet.RelearnResult{Lasting: fleet.FaultMoved, Since: since})
	}
	d := newDoor(t, f, Options{})
	path := "/api/v1/cameras/" + fleet.CameraID(1).String() + "/accept"
	w := d.as("operator", http.MethodPost, path, "")
	var v Accepted
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusOK || v.Agent != "agent-1" || v.Lasting != fleet.FaultMoved || !v.Since.Equal(since) {
		t.Errorf("%v: %d %s", err, w.Code, w.Body)
	}
	if w := d.as("viewer", http.MethodPost, path, ""); w.Code != http.StatusForbidden {
		t.Errorf("a viewer accepts: %d", w.Code)
	}
	if w := d.as("operator", http.MethodPost, "/api/v1/cameras/"+fleet.CameraID(100).String()+"/accept", ""); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a pending camera is accepted: %d", w.Code)
	}
	form := d.signIn("operator")
	form["Content-Type"] = "application/x-www-form-urlencoded"
	if w := d.do(request{http.MethodPost, "/cameras/" + fleet.CameraID(1).String() + "/accept", "", form}); w.Code != http.StatusSeeOther || asked != 2 {
		t.Errorf("by the page: %d, asked %d times: %s", w.Code, asked, w.Body)
	}
	f.Agent = func(context.Context, scheduler.Command, func(json.RawMessage)) (json.RawMessage, error) {
		return json.RawMessage(`"yes"`), nil
	}
	if w := d.as("operator", http.MethodPost, path, ""); w.Code != http.StatusBadGateway {
		t.Errorf("an answer that is none: %d", w.Code)
	}
}
