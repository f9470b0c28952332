package rtsp

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"
)

// pkt is one packet: s counts packets on the wire, so that a number left out is
// one lost; t is the time, and m the marker.
type pkt struct {
	s uint16
	t uint32
	m bool
	p []byte
}

// Units that are true enough for what looks at headers.
var (
	sps, sps2, pps = []byte{0x67, 1, 2}, []byte{0x67, 9, 9}, []byte{0x68, 1}
	idr, idr2      = []byte{0x65, 0x88, 1}, []byte{0x65, 0x40, 2}
	inter, inter2  = []byte{0x61, 0x9a, 1}, []byte{0x61, 0x40, 2}
	atOnce         = []byte{0x06, 6, 1, 0xc4, 0x80} // recovery_frame_cnt 0
	bitByBit       = []byte{0x06, 6, 2, 0x10, 0x84, 0x80}
	late           = []byte{0x06, 5, 3, 7, 7, 7, 6, 1, 0xc4, 0x80} // the recovery point is its second message
	allIntra       = []byte{0x41, 0x88, 1}                         // first_mb 0, slice_type 7
	allIntra2      = []byte{0x41, 0x42, 0x00, 2}                   // first_mb 1, slice_type 7
)

func joined(units ...[]byte) string {
	var b bytes.Buffer
	for _, u := range units {
		writeUnit(&b, u)
	}
	return b.String()
}

func stap(units ...[]byte) []byte {
	b := []byte{24}
	for _, u := range units {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(u))), u...)
	}
	return b
}

// Each stream gives the first picture that is whole, and never half of one.
func TestPictures(t *testing.T) {
	many := append([][]byte{}, idr)
	for range 39 {
		many = append(many, idr2)
	}
	for _, c := range []struct {
		name  string
		mode  int
		sdp   bool // holds the parameter sets
		in    []pkt
		want  string
		held  bool // comes only when nothing follows
		error string
	}{
		{name: "first of all, held until the next", sdp: true, in: []pkt{{1, 0, true, idr}, {2, 9, true, inter}}, want: joined(sps, pps, idr)},
		{name: "first of all, and nothing follows", sdp: true, in: []pkt{{1, 0, true, idr}}, want: joined(sps, pps, idr), held: true},
		{name: "markers known to be true", sdp: true, in: []pkt{{1, 0, false, inter}, {2, 0, true, inter2}, {3, 9, true, inter}, {4, 18, true, idr}}, want: joined(sps, pps, idr)},
		{name: "a marker on each slice", sdp: true, in: []pkt{{1, 0, true, idr}, {2, 0, true, idr2}, {3, 9, true, inter}}, want: joined(sps, pps, idr, idr2)},
		{name: "a marker on each slice, where others have one", sdp: true, in: []pkt{{1, 0, true, inter}, {2, 9, true, idr}, {3, 9, true, idr2}, {4, 18, true, idr}, {5, 18, true, idr2}, {6, 27, true, inter}},
			want: joined(sps, pps, idr, idr2)},
		{name: "a marker on each slice from now on", sdp: true, in: []pkt{{1, 0, false, inter}, {2, 0, true, inter2}, {3, 9, true, inter}, {4, 9, true, inter2}, {5, 18, true, idr}, {6, 18, true, idr2}, {7, 27, true, inter}},
			want: joined(sps, pps, idr, idr2)},
		{name: "a marker on each fragment", sdp: true, in: []pkt{{1, 0, true, []byte{0x7c, 0x85, 0x88, 1}}, {2, 0, true, []byte{0x7c, 0x45, 2}}, {3, 9, true, inter}}, want: joined(sps, pps, []byte{0x65, 0x88, 1, 2})},
		{name: "no markers", sdp: true, in: []pkt{{1, 0, false, idr}, {2, 0, false, idr2}, {3, 9, false, inter}}, want: joined(sps, pps, idr, idr2)},
		{name: "the time stands still", sdp: true, in: []pkt{{1, 0, true, inter}, {2, 0, true, inter}, {3, 0, false, idr}, {4, 0, true, idr2}, {5, 0, true, inter}}, want: joined(sps, pps, idr, idr2)},
		{name: "mode 0", mode: -1, in: []pkt{{1, 0, false, sps}, {2, 0, false, pps}, {3, 0, true, idr}, {4, 9, true, inter}}, want: joined(sps, pps, idr)},
		{name: "fragments in mode 0", mode: -1, sdp: true, in: []pkt{{1, 0, false, []byte{0x7c, 0x85, 0x88}}, {2, 0, true, []byte{0x7c, 0x45, 2}}, {3, 9, true, inter}}, want: joined(sps, pps, []byte{0x65, 0x88, 2})},
		{name: "aggregated sets with markers of their own", in: []pkt{{1, 0, true, stap(sps, pps)}, {2, 0, true, idr}, {3, 9, true, inter}}, want: joined(sps, pps, idr)},
		{name: "forty slices aggregated", in: []pkt{{1, 0, true, stap(append([][]byte{sps, pps}, many[:20]...)...)}, {2, 9, true, inter}}, want: joined(append([][]byte{sps, pps}, many[:20]...)...)},
		{name: "a slice lost", sdp: true, in: []pkt{{1, 0, false, idr}, {3, 0, true, idr2}, {4, 9, true, inter}}, error: "parts missing"},
		{name: "the first slice lost", sdp: true, in: []pkt{{1, 0, true, inter}, {3, 9, true, idr2}, {4, 18, true, inter}}, error: "parts missing"},
		{name: "the last slice lost, and the marker", sdp: true, in: []pkt{{1, 0, false, idr}, {3, 9, true, inter}}, error: "parts missing"},
		{name: "the last slice lost without markers", sdp: true, in: []pkt{{1, 0, false, idr}, {3, 9, false, inter}, {4, 18, false, inter}}, error: "parts missing"},
		{name: "a fragment lost", sdp: true, in: []pkt{{1, 0, false, []byte{0x7c, 0x85, 0x88}}, {3, 0, false, []byte{0x7c, 0x05, 1}}, {4, 0, true, []byte{0x7c, 0x45, 2}}, {5, 9, true, inter}}, error: "no key frame"},
		{name: "a fragment that does not end", sdp: true, in: []pkt{{1, 0, false, idr}, {2, 0, true, []byte{0x7c, 0x85, 0x40}}, {3, 9, true, inter}}, error: "parts missing"},
		{name: "new sets lost", in: []pkt{{1, 0, false, sps}, {2, 0, false, pps}, {3, 0, true, inter}, {4, 9, true, inter}, {6, 18, true, idr}, {7, 27, true, inter}}, error: "parts missing"},
		{name: "a picture lost before", sdp: true, in: []pkt{{1, 0, true, inter}, {2, 9, true, inter}, {4, 27, true, idr}, {5, 36, true, inter}}, want: joined(sps, pps, idr)},
		{name: "old sets replaced", sdp: true, in: []pkt{{1, 0, false, sps2}, {2, 0, false, pps}, {3, 0, true, idr}, {4, 9, true, inter}}, want: joined(sps2, pps, idr)},
		{name: "a recovery point at once", sdp: true, in: []pkt{{1, 0, false, atOnce}, {2, 0, false, allIntra}, {3, 0, true, allIntra2}, {4, 9, true, inter}}, want: joined(sps, pps, atOnce, allIntra, allIntra2)},
		{name: "a recovery point behind another message", sdp: true, in: []pkt{{1, 0, false, late}, {2, 0, true, allIntra}, {3, 9, true, inter}}, want: joined(sps, pps, late, allIntra)},
		{name: "a recovery point with an inter slice", sdp: true, in: []pkt{{1, 0, false, atOnce}, {2, 0, false, allIntra}, {3, 0, true, inter2}, {4, 9, true, inter}}, error: "recovery points"},
		{name: "a recovery point for later", sdp: true, in: []pkt{{1, 0, false, bitByBit}, {2, 0, true, allIntra}, {3, 9, true, inter}}, error: "recovery points"},
		{name: "a recovery point that lost a slice", sdp: true, in: []pkt{{1, 0, false, atOnce}, {2, 0, false, allIntra}, {4, 0, true, allIntra2}, {5, 9, true, inter}}, error: "parts missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
			if c.mode < 0 {
				f.PacketizationMode = 0
			}
			if c.sdp {
				f.SPS, f.PPS = sps, pps
			}
			_, a, err := newAssembler(f)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, p := range c.in {
				if got, err = a.push(&rtp.Packet{Header: rtp.Header{SequenceNumber: p.s, Timestamp: p.t, Marker: p.m}, Payload: p.p}); err != nil {
					t.Fatal(err)
				}
				if got != nil {
					break
				}
			}
			if a.held() != c.held && c.want != "" {
				t.Errorf("held: %v, want %v", a.held(), c.held)
			}
			if c.held {
				got = a.flush()
			}
			if string(got) != c.want {
				t.Errorf("%x, want %x", got, c.want)
			}
			if c.error != "" && !strings.Contains(a.verdict().Error(), c.error) {
				t.Errorf("verdict %q, want %q", a.verdict(), c.error)
			}
		})
	}
}

// fragments cuts a coded picture into RTP/M-JPEG packets, one for each n bytes.
func fragments(tb testing.TB, quality, n int) []*rtp.Packet {
	tb.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i * quality)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		tb.Fatal(err)
	}
	e := &rtpmjpeg.Encoder{PayloadMaxSize: n}
	if err := e.Init(); err != nil {
		tb.Fatal(err)
	}
	ps, err := e.Encode(b.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	return ps
}

func TestJPEGs(t *testing.T) {
	one := func() []*rtp.Packet { return fragments(t, 60, 300) }
	at := func(ps []*rtp.Packet, seq uint16, stamp uint32) []*rtp.Packet {
		for i, p := range ps {
			p.SequenceNumber, p.Timestamp = seq+uint16(i), stamp
		}
		return ps
	}
	const tables = 4 + 128
	for _, c := range []struct {
		name  string
		in    func() []*rtp.Packet
		want  bool
		has   string // bytes of the picture
		error string
	}{
		{"whole", func() []*rtp.Packet { return at(one(), 1, 0) }, true, "", ""},
		{"a packet lost", func() []*rtp.Packet { ps := at(one(), 1, 0); return append(ps[:1:1], ps[2:]...) }, false, "", "parts missing"},
		{"joined in the middle", func() []*rtp.Packet { return append(at(one(), 1, 0)[1:], at(one(), 100, 9)...) }, true, "", ""},
		// The tail of the second frame would fit behind the head of the first.
		{"two halves of two frames", func() []*rtp.Packet {
			a, b := at(one(), 1, 0), at(one(), 100, 9)
			return append(a[:1:1], b[1:]...)
		}, false, "", "parts missing"},
		{"two halves, the numbers in order", func() []*rtp.Packet {
			a, b := at(one(), 1, 0), at(one(), 1, 9)
			return append(a[:1:1], b[1:]...)
		}, false, "", "parts missing"},
		{"restart intervals", func() []*rtp.Packet {
			ps := at(one(), 1, 0)
			for _, p := range ps {
				b := append([]byte{}, p.Payload[:8]...)
				b[4] += 64
				p.Payload = append(append(b, 0, 7, 0xff, 0xff), p.Payload[8:]...)
			}
			return ps
		}, true, "\xff\xdd\x00\x04\x00\x07", ""},
		{"tables that came before", func() []*rtp.Packet {
			first, second := at(one(), 1, 0), at(one(), 100, 9)
			for _, ps := range [][]*rtp.Packet{first, second} {
				for _, p := range ps {
					p.Payload[5] = 200
				}
			}
			p := second[0]
			p.Payload = append(append(append([]byte{}, p.Payload[:8]...), 0, 0, 0, 0), p.Payload[8+tables:]...)
			return append(first[:1:1], second...) // all but its tables is lost
		}, true, "", ""},
		{"tables that never came", func() []*rtp.Packet {
			ps := at(one(), 1, 0)
			p := ps[0]
			p.Payload = append(append(append([]byte{}, p.Payload[:8]...), 0, 0, 0, 0), p.Payload[8+tables:]...)
			return ps
		}, false, "", "no quantization tables"},
		{"a type nobody defined", func() []*rtp.Packet {
			ps := at(one(), 1, 0)
			for _, p := range ps {
				p.Payload[4] = 5
			}
			return ps
		}, false, "", "type 5"},
		{"a reserved quantization", func() []*rtp.Packet {
			ps := at(one(), 1, 0)
			for _, p := range ps {
				p.Payload[5] = 127
			}
			return ps
		}, false, "", "quantization 127"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, a, err := newAssembler(&format.MJPEG{})
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, p := range c.in() {
				out, err := a.push(p)
				if err != nil {
					t.Fatal(err)
				}
				if out != nil {
					got = out
				}
			}
			if (got != nil) != c.want || !strings.Contains(string(got), c.has) {
				t.Fatalf("%d bytes; %v", len(got), a.verdict())
			}
			if c.error != "" && !strings.Contains(a.verdict().Error(), c.error) {
				t.Errorf("verdict %q, want %q", a.verdict(), c.error)
			}
			if c.want && c.has == "" {
				if _, err := jpeg.Decode(bytes.NewReader(got)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// BenchmarkPicture joins a key frame of about 100 kB; what it allocates is the
// frame and its parts, once each.
func BenchmarkPicture(b *testing.B) {
	var ps []*rtp.Packet
	for i := range 80 {
		ps = append(ps, &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Marker: i == 79}, Payload: append([]byte{0x7c, 0x05, 0x88}, make([]byte, 1300)...)})
	}
	ps[0].Payload[1], ps[79].Payload[1] = 0x85, 0x45
	b.ReportAllocs()
	for b.Loop() {
		_, a, err := newAssembler(&format.H264{PacketizationMode: 1, SPS: sps, PPS: pps})
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range ps {
			if _, err := a.push(p); err != nil {
				b.Fatal(err)
			}
		}
		if len(a.flush()) < 80*1300 {
			b.Fatal("no picture")
		}
	}
}

// BenchmarkJPEG joins a small M-JPEG frame.
func BenchmarkJPEG(b *testing.B) {
	ps := fragments(b, 60, 300)
	for i, p := range ps {
		p.SequenceNumber = uint16(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, a, err := newAssembler(&format.MJPEG{})
		if err != nil {
			b.Fatal(err)
		}
		var got []byte
		for _, p := range ps {
			if got, err = a.push(p); err != nil {
				b.Fatal(err)
			}
		}
		if got == nil {
			b.Fatal("no frame")
		}
	}
}
