package rtsp_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

// pictures cuts a stream of Annex B into its units, by picture: one begins with
// the first slice, or with what stands before it.
func pictures(t *testing.T, file string, slice func(nal []byte) (is, first bool)) [][][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var units h264.AnnexB // the byte stream of H.265 is the same
	if err := units.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	var out [][][]byte
	sliced := true
	for _, u := range units {
		is, first := slice(u)
		if sliced && (!is || first) {
			out, sliced = append(out, nil), false
		}
		sliced = sliced || is
		out[len(out)-1] = append(out[len(out)-1], u)
	}
	return out
}

// decoded has a frame decoded by FFmpeg, which must find nothing wrong with it.
func decoded(t *testing.T, f fleet.Frame, width, height int) {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Log("not decoded: there is no ffmpeg here")
		return
	}
	demuxer := map[fleet.Codec]string{fleet.H264: "h264", fleet.H265: "hevc"}[f.Codec]
	cmd := exec.CommandContext(t.Context(), program, "-nostdin", "-v", "error", "-threads", "1", "-probesize", "32", "-analyzeduration", "0",
		"-f", demuxer, "-i", "pipe:0", "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	var out, says bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(f.Data), &out, &says
	if err := cmd.Run(); err != nil || says.Len() > 0 || out.Len() != width*height {
		t.Fatalf("ffmpeg: %d samples, want %d; %v: %s", out.Len(), width*height, err, says.String())
	}
	// The test picture has bars of all brightnesses: a broken one is flat or grey.
	low, high := byte(255), byte(0)
	for _, v := range out.Bytes() {
		low, high = min(low, v), max(high, v)
	}
	if low > 60 || high < 190 {
		t.Errorf("samples of %d to %d: the picture is not the test picture", low, high)
	}
}

// serve sends the pictures again and again.
func serve(t *testing.T, f format.Format, encode func([][]byte) ([]*rtp.Packet, error), pictures [][][]byte) string {
	t.Helper()
	return start(t, &server{}, []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{f}}}, func(n int) []*rtp.Packet {
		ps, err := encode(pictures[n%len(pictures)])
		if err != nil {
			t.Error(err)
		}
		for _, p := range ps {
			p.Timestamp = uint32(3000 * n)
		}
		return ps
	})
}

// H.265 as an encoder makes it: fragments and aggregation packets, parameter
// sets in band, two slices a picture.
func TestGrabEncodedH265(t *testing.T) {
	ps := pictures(t, "testdata/testsrc.hevc", func(nal []byte) (bool, bool) { return nal[0]>>1 < 32, nal[2]&0x80 != 0 })
	f := &format.H265{PayloadTyp: 96}
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	enc.PayloadMaxSize = 300 // so that a unit is many fragments
	got, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(serve(t, f, enc.Encode, ps)))
	if err != nil || got.Codec != fleet.H265 {
		t.Fatalf("Grab = %s, %v", got.Codec, err)
	}
	decoded(t, got, 128, 96)
}

// A stream without IDR pictures gives its recovery points, where a decoder may
// begin.
func TestGrabOpenGroups(t *testing.T) {
	ps := pictures(t, "testdata/open-gop.h264", func(nal []byte) (bool, bool) { return nal[0]&0x1f <= 5, nal[1]&0x80 != 0 })
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	enc.PayloadMaxSize = 300
	got, err := rtsp.New(newGuard(t), rtsp.Options{}).Grab(within(t, 10*time.Second), target(serve(t, f, enc.Encode, ps)))
	if err != nil || got.Codec != fleet.H264 || bytes.Contains(got.Data, []byte{0, 0, 0, 1, 0x65}) {
		t.Fatalf("Grab = %s, %v", got.Codec, err)
	}
	decoded(t, got, 128, 96)
}
