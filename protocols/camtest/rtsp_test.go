package camtest_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// watch plays a stream over TCP and returns its pictures: JPEGs, or H.264
// access units as NAL units.
func watch(t *testing.T, at, user, password string) (<-chan [][]byte, *gortsplib.Client, error) {
	t.Helper()
	u, err := base.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		u, err = base.ParseURL("rtsp://" + user + ":" + password + "@" + u.Host + u.Path)
		if err != nil {
			t.Fatal(err)
		}
	}
	tcp := gortsplib.TransportTCP
	c := &gortsplib.Client{Transport: &tcp, ReadTimeout: 5 * time.Second}
	c.Scheme, c.Host = u.Scheme, u.Host
	if err := c.Start2(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	desc, _, err := c.Describe(u)
	if err != nil {
		return nil, c, err
	}
	out := make(chan [][]byte, 64)
	give := func(p [][]byte) {
		select {
		case out <- p:
		default:
		}
	}
	var mj *format.MJPEG
	var h *format.H264
	var medi *description.Media
	var on func(*rtp.Packet)
	if medi = desc.FindFormat(&mj); medi != nil {
		d, err := mj.CreateDecoder()
		if err != nil {
			t.Fatal(err)
		}
		on = func(p *rtp.Packet) {
			if b, err := d.Decode(p); err == nil {
				give([][]byte{b})
			}
		}
	} else if medi = desc.FindFormat(&h); medi != nil {
		d, err := h.CreateDecoder()
		if err != nil {
			t.Fatal(err)
		}
		on = func(p *rtp.Packet) {
			if au, err := d.Decode(p); err == nil {
				give(au)
			}
		}
	} else {
		t.Fatalf("no video in %v", desc)
	}
	if _, err := c.Setup(desc.BaseURL, medi, 0, 0); err != nil {
		return nil, c, err
	}
	c.OnPacketRTPAny(func(_ *description.Media, _ format.Format, p *rtp.Packet) { on(p) })
	_, err = c.Play(nil)
	return out, c, err
}

func picture(t *testing.T, in <-chan [][]byte) [][]byte {
	t.Helper()
	select {
	case p := <-in:
		return p
	case <-time.After(time.Minute):
		t.Fatal("no picture in a minute")
		return nil
	}
}

func TestRTSP(t *testing.T) {
	for _, n := range []int{0, 3, 4} { // H.264; M-JPEG; M-JPEG with SHA-256
		c := camtest.Street()[n]
		t.Run(c.Name, func(t *testing.T) {
			town, i := quiet(t, c)
			start := time.Now()
			in, _, err := watch(t, i.RTSP, i.User, i.Password.Reveal())
			if err != nil {
				t.Fatal(err)
			}
			first := picture(t, in)
			t.Logf("first picture after %v", time.Since(start))
			if c.Codec == "h264" {
				if kinds := []byte{first[0][0] & 31, first[1][0] & 31, first[2][0] & 31}; !bytes.Equal(kinds, []byte{7, 8, 5}) {
					t.Errorf("the first access unit holds NAL units %v, want 7 8 5", kinds)
				}
			} else if cfg, err := jpeg.DecodeConfig(bytes.NewReader(first[0])); err != nil || cfg.Width != i.Width || cfg.Height != i.Height {
				t.Errorf("the first picture is %dx%d (%v), want %dx%d", cfg.Width, cfg.Height, err, i.Width, i.Height)
			}
			// A picture answers for a while, so one may come twice.
			same := 0
			for next := first; bytes.Equal(next[len(next)-1], first[len(first)-1]); next = picture(t, in) {
				if same++; same > 10 {
					t.Fatal("ten pictures are the same")
				}
			}
			if s := town.Stats(c.Name); s.Streams != 1 || s.Refused != 0 {
				t.Errorf("stats while watching: %+v", s)
			}
			for _, password := range []string{"", "guess"} {
				user := i.User
				if password == "" {
					user = ""
				}
				_, _, err := watch(t, i.RTSP, user, password)
				var bad liberrors.ErrClientBadStatusCode
				if !errors.As(err, &bad) || bad.Code != base.StatusUnauthorized {
					t.Errorf("with the password %q: %v", password, err)
				}
			}
		})
	}
}

func TestEveryNewWatcherBeginsWithAKeyFrame(t *testing.T) {
	c := camtest.Street()[0]
	c.Open = true
	_, i := quiet(t, c)
	for range 20 { // beside those who watch already
		in, _, err := watch(t, i.RTSP, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if u := picture(t, in); u[len(u)-1][0]&31 != 5 {
			t.Errorf("the first picture is of type %d, want 5", u[len(u)-1][0]&31)
		}
	}
}
