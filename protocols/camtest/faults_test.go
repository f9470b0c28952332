package camtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

func set(t *testing.T, town *camtest.Town, name string, f camtest.Fault, on bool) {
	t.Helper()
	if err := town.SetFault(name, f, on); err != nil {
		t.Fatal(err)
	}
}

// look measures a picture: mean and spread of luma, and how sharp its edges
// are (mean step between neighbours), the overlay's lines left out.
func look(t *testing.T, b []byte) (mean, spread, edges float64) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	y := img.(*image.YCbCr)
	n, sum, square := 0.0, 0.0, 0.0
	for r := 48; r < y.Rect.Dy()-48; r++ {
		for x := 1; x < y.Rect.Dx(); x++ {
			v, w := float64(y.Y[y.YOffset(x, r)]), float64(y.Y[y.YOffset(x-1, r)])
			n, sum, square, edges = n+1, sum+v, square+v*v, edges+math.Abs(v-w)
		}
	}
	return sum / n, math.Sqrt(square/n - sum/n*sum/n), edges / n
}

func TestPictureFaults(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true}
	town, i := quiet(t, c)
	_, healthy := get(t, i.Snapshot, "")
	mean, spread, edges := look(t, healthy)
	if mean < 60 || mean > 200 || spread < 25 || edges < 2 {
		t.Fatalf("healthy: mean %.1f, spread %.1f, edges %.2f", mean, spread, edges)
	}
	for f, bad := range map[camtest.Fault]func(m, s, e float64) bool{
		camtest.Blurred:     func(m, s, e float64) bool { return math.Abs(m-mean) < 15 && e < edges/2 },
		camtest.Covered:     func(m, s, _ float64) bool { return m < 60 && s < spread/1.5 },
		camtest.OverExposed: func(m, s, _ float64) bool { return m > 225 },
		camtest.Black:       func(m, s, _ float64) bool { return m < 10 && s < 4 },
		camtest.Moved:       func(m, s, e float64) bool { return s > 10 && e > 0.5 },
	} {
		t.Run(string(f), func(t *testing.T) {
			set(t, town, c.Name, f, true)
			defer set(t, town, c.Name, f, false)
			_, b := get(t, i.Snapshot, "")
			if m, s, e := look(t, b); !bad(m, s, e) {
				t.Errorf("mean %.1f, spread %.1f, edges %.2f; healthy %.1f, %.1f, %.2f", m, s, e, mean, spread, edges)
			}
		})
	}
	if now, _ := town.Camera(c.Name); len(now.Faults) != 0 {
		t.Errorf("faults left over: %v", now.Faults)
	}
	_, again := get(t, i.Snapshot, "")
	if m, _, e := look(t, again); math.Abs(m-mean) > 15 || e < edges/1.5 {
		t.Errorf("healthy again: mean %.1f, edges %.2f", m, e)
	}
}

// TestStreamFaults: a fault of the picture shows in what a camera streams as
// H.264, from the next key frame on, and is gone from it with the fault.
func TestStreamFaults(t *testing.T) {
	c := camtest.Camera{Name: "parking", Scene: camtest.Parking, Protocols: []fleet.Protocol{fleet.RTSP}, Codec: fleet.H264, Open: true}
	town, i := quiet(t, c)
	var d h264.Decoder
	var last, healthy []byte
	shot := func() (mean, spread, edges, other float64) {
		in, client, err := watch(t, i.RTSP, "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		stream := []byte{}
		for _, u := range picture(t, in) {
			stream = append(append(stream, 0, 0, 0, 1), u...)
		}
		var pic codec.Picture
		if err := d.Decode(t.Context(), stream, h264.Options{}, &pic); err != nil {
			t.Fatal(err)
		}
		last = stream
		var n, sum, square float64
		for y := range pic.Y.Height {
			row := pic.Y.Row(y)
			for x := 1; x < len(row); x++ {
				v, w := float64(row[x]), float64(row[x-1])
				n, sum, square, edges = n+1, sum+v, square+v*v, edges+math.Abs(v-w)
				if healthy != nil {
					other += math.Abs(v - float64(healthy[y*pic.Y.Width+x]))
				}
			}
		}
		if healthy == nil {
			for y := range pic.Y.Height {
				healthy = append(healthy, pic.Y.Row(y)...)
			}
		}
		return sum / n, math.Sqrt(square/n - sum/n*sum/n), edges / n, other / n
	}
	mean, spread, edges, _ := shot()
	for f, bad := range map[camtest.Fault]func(m, s, e, o float64) bool{
		camtest.Blurred:     func(m, _, e, _ float64) bool { return math.Abs(m-mean) < 15 && e < edges/2 },
		camtest.Covered:     func(m, s, _, _ float64) bool { return m < 70 && s < spread/1.5 },
		camtest.OverExposed: func(m, _, _, _ float64) bool { return m > 205 },
		camtest.Black:       func(m, s, _, _ float64) bool { return m < 20 && s < 4 },
		camtest.Moved:       func(m, s, e, o float64) bool { return s > 10 && e > 0.5 && o > 20 },
	} {
		set(t, town, c.Name, f, true)
		if m, s, e, o := shot(); !bad(m, s, e, o) {
			t.Errorf("%s: mean %.1f, spread %.1f, edges %.2f, %.1f from healthy; healthy %.1f, %.1f, %.2f", f, m, s, e, o, mean, spread, edges)
		}
		set(t, town, c.Name, f, false)
		if m, s, e, o := shot(); o > 8 {
			t.Errorf("after %s: mean %.1f, spread %.1f, edges %.2f, %.1f from healthy; healthy %.1f, %.1f, %.2f", f, m, s, e, o, mean, spread, edges)
		}
	}
	was := last
	shot()
	if bytes.Equal(last, was) {
		t.Error("a healthy camera sent one key frame twice")
	}
	set(t, town, c.Name, camtest.Frozen, true)
	shot() // a key frame may have been sent since the last one that was looked at
	was = last
	for range 2 {
		shot()
		if !bytes.Equal(last, was) {
			t.Error("a frozen camera sent another key frame")
		}
	}
}

func TestFrozen(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true}
	now := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	clock := make(chan time.Time, 1)
	clock <- now
	town := run(t, camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true, Now: func() time.Time { v := <-clock; clock <- v; return v }})
	tick := func() { clock <- (<-clock).Add(5 * time.Second) }
	at := town.Cameras()[0].Snapshot
	_, a := get(t, at, "")
	tick()
	_, b := get(t, at, "")
	if bytes.Equal(a, b) {
		t.Error("a healthy camera gave the same picture after 5 s")
	}
	set(t, town, c.Name, camtest.Frozen, true)
	tick()
	if _, again := get(t, at, ""); !bytes.Equal(again, b) {
		t.Error("a frozen camera gave another picture")
	}
	set(t, town, c.Name, camtest.Frozen, false)
	if _, thawed := get(t, at, ""); bytes.Equal(thawed, b) {
		t.Error("a thawed camera gave the frozen picture")
	}
}

func TestSilent(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot, fleet.RTSP}, Open: true}
	town, i := quiet(t, c)
	set(t, town, c.Name, camtest.Silent, true)
	for _, host := range []string{hostOf(t, i.Snapshot), hostOf(t, i.RTSP)} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatalf("a silent camera does not accept: %v", err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, timeoutError(err)) {
			t.Errorf("%s said %d bytes (%v)", host, n, err)
		}
	}
	set(t, town, c.Name, camtest.Silent, false)
	if res, _ := get(t, i.Snapshot, ""); res.StatusCode != 200 {
		t.Errorf("afterwards: %s", res.Status)
	}
}

// TestSilentOverTLSEnds: a town ends, and a key changes, while a camera that has
// fallen silent has a connection over TLS.
func TestSilentOverTLSEnds(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true, HTTPS: true}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // nobody has signed it
	defer tr.CloseIdleConnections()
	for _, f := range []camtest.Fault{"", camtest.ChangedKey} {
		town, err := camtest.New(camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1) // Run's result
		go func() { done <- town.Run(ctx) }()
		<-town.Ready()
		res, err := (&http.Client{Transport: tr}).Get(town.Cameras()[0].Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // the connection is kept
		set(t, town, c.Name, camtest.Silent, true)
		go func() {
			if f != "" {
				_ = town.SetFault(c.Name, f, true)
			}
			cancel()
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q: the town did not end in a minute", f)
		}
	}
}

// timeoutError returns err if it is a timeout.
func timeoutError(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return err
	}
	return errors.New("no timeout")
}

func hostOf(t *testing.T, at string) string {
	t.Helper()
	u, err := base.ParseURL("rtsp" + at[len("http"):])
	if at[:4] == "rtsp" {
		u, err = base.ParseURL(at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestSlow(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true, Faults: []camtest.Fault{camtest.Slow}}
	town, i := quiet(t, c)
	start := time.Now() // what has come by the time that Get returns is waiting
	res, err := client(t).Get(i.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.ReadFull(res.Body, make([]byte, 3<<10))
	if took := time.Since(start); err != nil || took < 250*time.Millisecond {
		t.Errorf("%d bytes after %v: %v", n, took, err)
	}
	set(t, town, c.Name, camtest.Slow, false) // also frees what is under way
	start = time.Now()
	rest, err := io.Copy(io.Discard, res.Body)
	slow := time.Duration(rest) * time.Second / (5 << 10)
	if took := time.Since(start); err != nil || int64(n)+rest != res.ContentLength || took > slow*3/4 {
		t.Errorf("%d of %d bytes after %v, slowly it takes %v: %v", int64(n)+rest, res.ContentLength, took, slow, err)
	}
}

func TestOneConnection(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot, fleet.RTSP, fleet.MJPEG}, Open: true, Faults: []camtest.Fault{camtest.OneConnection}}
	town, i := quiet(t, c)
	res, err := client(t).Get(i.MJPEG)
	if err != nil {
		t.Fatal(err)
	}
	if res, _ := get(t, i.Snapshot, ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a snapshot beside a stream: %s", res.Status)
	}
	_, _, err = watch(t, i.RTSP, "", "")
	if bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); !ok || bad.Code != base.StatusNotEnoughBandwidth {
		t.Errorf("a second stream: %v", err)
	}
	_ = res.Body.Close()
	for limit := time.After(time.Minute); town.Stats(c.Name).Streams > 0; {
		select {
		case <-limit:
			t.Fatal("the place of a closed stream was not freed in a minute")
		case <-time.After(10 * time.Millisecond):
		}
	}
	in, cl, err := watch(t, i.RTSP, "", "")
	if err != nil {
		t.Fatal(err)
	}
	picture(t, in)
	if res, _ := get(t, i.Snapshot, ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a snapshot beside an RTSP stream: %s", res.Status)
	}
	cl.Close()
}

func TestPasswords(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, LockAfter: 3, Faults: []camtest.Fault{camtest.Lockout}}
	town, i := quiet(t, c)
	try := func(password string) int {
		res, _ := get(t, i.Snapshot, "")
		res, _ = get(t, i.Snapshot, login(res, http.MethodGet, "/snapshot.jpg", i.User, password))
		return res.StatusCode
	}
	right := i.Password.Reveal()
	if got := try(right); got != 200 {
		t.Fatalf("right password: %d", got)
	}
	set(t, town, c.Name, camtest.WrongPassword, true)
	if got := try(right); got != 401 {
		t.Errorf("changed password: %d", got)
	}
	set(t, town, c.Name, camtest.WrongPassword, false)
	if got := try(right); got != 200 { // and the count begins anew
		t.Errorf("right password again: %d", got)
	}
	for range 3 {
		if got := try("guess"); got != 401 {
			t.Errorf("wrong password: %d", got)
		}
	}
	if got, s := try(right), town.Stats(c.Name); got != 401 || !s.Locked || s.Refused != 5 {
		t.Errorf("right password after the lockout: %d, %+v", got, s)
	}
	set(t, town, c.Name, camtest.Lockout, false)
	if got := try(right); got != 200 {
		t.Errorf("right password after the fault: %d", got)
	}
}

func TestSetFaultRefuses(t *testing.T) {
	town, _ := quiet(t, camtest.Street()[2])
	if town.SetFault("nobody", camtest.Black, true) == nil || town.SetFault("*", "sulking", true) == nil {
		t.Error("SetFault took an unknown name")
	}
	if err := town.Apply([]camtest.CameraFault{{Camera: "*", Fault: camtest.Black}}); err != nil {
		t.Error(err)
	}
	if c := town.Cameras()[0]; !reflect.DeepEqual(c.Faults, []camtest.Fault{camtest.Black}) {
		t.Errorf("faults %v", c.Faults)
	}
}

var faultLists = []struct {
	in   string
	want []camtest.CameraFault
	ok   bool
}{
	{"", nil, true},
	{"gate=blurred", []camtest.CameraFault{{Camera: "gate", Fault: camtest.Blurred}}, true},
	{" gate = blurred , *=slow,", []camtest.CameraFault{{Camera: "gate", Fault: camtest.Blurred}, {Camera: "*", Fault: camtest.Slow}}, true},
	{"gate", nil, false},
	{"=black", nil, false},
	{"gate=sulking", nil, false},
}

func TestParseFaults(t *testing.T) {
	for _, tc := range faultLists {
		got, err := camtest.ParseFaults(tc.in)
		if !reflect.DeepEqual(got, tc.want) || (err == nil) != tc.ok {
			t.Errorf("ParseFaults(%q) = %v, %v, want %v", tc.in, got, err, tc.want)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, tc := range faultLists {
		f.Add(tc.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := camtest.ParseFaults(s)
		if err != nil {
			return
		}
		for _, c := range list {
			again, err := camtest.ParseFaults(c.Camera + "=" + string(c.Fault))
			if err != nil || len(again) != 1 || again[0] != c {
				t.Errorf("%q gave %v, which reads as %v, %v", s, c, again, err)
			}
		}
	})
}
